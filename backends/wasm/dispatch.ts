/**
 * The dispatcher: the WebAssembly functions that run a list of calls, on one thread or on several.
 *
 * A program in memory is a row of records, one a call. A record of one chunk is simply run. One of several chunks is
 * *opened*: its address and the number of chunks left go into one 64-bit word, `WORK`, and every thread that finds work
 * there takes chunks by subtracting 1 from it. Whoever finishes the last chunk goes on with the records that follow, up
 * to the next one to open. So threads never wait for one that is asleep, and small calls in a row need no meeting.
 *
 * ```text
 *  WORK = record (high 32 bits) | BIAS + chunks left (low 32 bits)        record 0: nothing is running
 *  DONE = chunks of the open record that are finished
 * ```
 *
 * A thread without work watches `WORK` for a while, then sleeps on its high half.
 *
 * @module
 */
import { Assembler, type Features, type Func, type Local } from "./assembler.ts";
import { type Expr, i32, i64, memory } from "./instructions.ts";
import { PAGES } from "./memory.ts";

/** Byte offsets of a record's words. */
export const RECORD = { kernel: 0, args: 4, total: 8, chunk: 12, chunks: 16, bytes: 32 } as const;
/** The `kernel` word of the record after the last. */
export const END = -1;
/** The `kernel` word of a record that ends one turn of a loop; its `args` point to a turn block. */
export const TURN = -2;
/**
 * Byte offsets in a turn block: turns left, turns in all, address of the loop's first record, number of moves. Then each
 * move: the address of a word, and what to add to it from turn to turn.
 */
export const TURN_BLOCK = { left: 0, length: 4, first: 8, count: 12, moves: 16 } as const;

/** Addresses of the words that threads share, each in a cache line of its own. */
const DONE = 128, SLEEPERS = 192;
export const WORK = 64;
/** Two words about a thread that failed: see `WorkerStart`. */
export const FAILURE = 320;
const BIAS = 0x80000000;
/** `WORK` when nothing is running. */
export const NOTHING = BigInt(BIAS);
/** Looks at `WORK` before a thread goes to sleep: some tens of microseconds. */
const SPINS = 20_000;

const address = (at: number) => i32.const(at);
const word = (record: Expr<"i32">, field: Exclude<keyof typeof RECORD, "bytes">) => i32.load(record, RECORD[field]);
const recordOf = (work: Expr<"i64">) => i32.wrap_i64(i64.shr_u(work, i64.const(32n)));
/** How many chunks are left; zero or less if none. */
const leftOf = (work: Expr<"i64">) => i32.sub(i32.wrap_i64(work), BIAS);

function invoke(f: Func, record: Expr<"i32">, begin: Expr<"i32">, end: Expr<"i32">): void {
  const args = word(record, "args");
  f.do(f.module.callIndirect(["i32", "i32", "i32"], word(record, "kernel"), args, begin, end));
}

/** `turn(record) -> record`: ends one turn of a loop. Moves what moves, and says where to go on. */
function addTurn(module: Assembler): Func {
  const f = module.func("turn", ["i32"], "i32");
  const record = f.int(0);
  const block = f.let(word(record, "args"));
  const left = f.let(i32.sub(i32.load(block, TURN_BLOCK.left), 1));
  const length = f.let(i32.load(block, TURN_BLOCK.length));
  // After the last turn everything moves back to where it started.
  const times = f.let(i32.select(left, 1, i32.sub(1, length)));
  f.do(i32.store(block, i32.select(left, left, length), TURN_BLOCK.left));
  const move = f.let(i32.add(block, TURN_BLOCK.moves));
  f.for({ to: f.let(i32.load(block, TURN_BLOCK.count)) }, () => {
    const place = f.let(i32.load(move));
    f.do(i32.store(place, i32.add(i32.load(place), i32.mul(i32.load(move, 4), times))));
    f.increase(move, 8);
  });
  f.return(i32.select(left, i32.load(block, TURN_BLOCK.first), i32.add(record, RECORD.bytes)));
  return f;
}

/** `serial(record)`: runs records up to the end, whole. */
function addSerial(module: Assembler, turn: Func): Func {
  const f = module.func("serial", ["i32"]);
  const record = f.int(0);
  f.while(i32.ne(word(record, "kernel"), END), () => {
    f.if(i32.eq(word(record, "kernel"), TURN), () => f.set(record, module.callFor("i32", turn, record)), () => {
      invoke(f, record, i32.const(0), word(record, "total"));
      f.increase(record, RECORD.bytes);
    });
  });
  return f;
}

/** `advance(record)`: runs records up to the next one of several chunks, and opens it; or says that all is done. */
function addAdvance(module: Assembler, turn: Func): Func {
  const f = module.func("advance", ["i32"]);
  const record = f.int(0);
  const open = (work: Expr<"i64">) => {
    f.do(i32.atomic_store(address(DONE), i32.const(0)));
    f.do(i64.atomic_store(address(WORK), work));
    f.if(i32.atomic_load(address(SLEEPERS)), () => f.drop(memory.notify(address(WORK + 4), 0x7fffffff)));
    f.return();
  };
  f.loop(() => {
    f.if(i32.eq(word(record, "kernel"), END), () => open(i64.const(NOTHING)));
    f.if(i32.gt_u(word(record, "chunks"), 1), () => {
      const high = i64.shl(i64.extend_i32_u(record), i64.const(32n));
      open(i64.or(high, i64.extend_i32_u(i32.add(word(record, "chunks"), i32.const(BIAS)))));
    });
    f.if(i32.eq(word(record, "kernel"), TURN), () => f.set(record, module.callFor("i32", turn, record)), () => {
      ensureInstalled(f, record);
      invoke(f, record, i32.const(0), word(record, "total"));
      f.increase(record, RECORD.bytes);
    });
  });
  return f;
}

/** A worker may meet a kernel that was compiled since it last looked. */
function ensureInstalled(f: Func, record: Expr<"i32">): void {
  f.if(i32.ge_u(word(record, "kernel"), f.module.tableSize()), () => f.do(f.module.call(INSTALL)));
}
/** Index of the imported function, which finds new kernels and new memory. */
const INSTALL = 0;

/**
 * A worker may be given memory that was added since it last looked, the record itself first of all: where an engine checks
 * bounds by the size that a thread knows, that would trap.
 */
function ensureReachable(f: Func): void {
  f.if(i32.lt_u(memory.size(), i32.load(address(PAGES))), () => f.do(f.module.call(INSTALL)));
}

/** Takes one chunk of the open record and runs it, if there is one left. */
function takeChunk(f: Func, advance: Func): void {
  const work = f.let(i64.atomic_sub(address(WORK), i64.const(1n)));
  f.if(i32.gt_s(leftOf(work), 0), () => {
    ensureReachable(f);
    const record = f.let(recordOf(work));
    const begin = f.let(i32.mul(i32.sub(word(record, "chunks"), leftOf(work)), word(record, "chunk")));
    const end = f.let(i32.add(begin, word(record, "chunk")));
    const total = f.let(word(record, "total")), chunks = f.let(word(record, "chunks"));
    ensureInstalled(f, record);
    invoke(f, record, begin, i32.min_u(end, total));
    // from here on another thread may end the program, and its records may become something else
    const done = i32.add(i32.atomic_add(address(DONE), 1), 1);
    f.if(i32.eq(done, chunks), () => f.do(f.module.call(advance, i32.add(record, RECORD.bytes))));
  });
}

/** Sleeps until the open record is another one than it was in `work`. */
function sleep(f: Func, work: Local<"i64">): void {
  f.drop(i32.atomic_add(address(SLEEPERS), 1));
  f.drop(memory.wait32(address(WORK + 4), recordOf(work), i64.const(-1n)));
  f.drop(i32.atomic_add(address(SLEEPERS), -1));
}

/** Works until nothing is running (the main thread), or for ever (a worker). */
function addParticipate(module: Assembler, advance: Func): Func {
  const f = module.func("participate", ["i32", "i32"]);
  const isMain = f.int(0), maySleep = f.int(1);
  const spins = f.let(i32.const(SPINS));
  const work = f.local("i64");
  f.loop(() => {
    f.set(work, i64.atomic_load(address(WORK)));
    f.if(i32.and(isMain, i32.eqz(recordOf(work))), () => f.return());
    f.if(i32.gt_s(leftOf(work), 0), () => {
      takeChunk(f, advance);
      f.set(spins, i32.const(SPINS));
    }, () => {
      f.increase(spins, -1);
      f.if(i32.and(maySleep, i32.eqz(spins)), () => {
        sleep(f, work);
        f.set(spins, i32.const(SPINS));
      });
    });
  });
  return f;
}

/** Words that must be set before the first run. */
export function resetDispatcher(words: Int32Array): void {
  words.set([BIAS | 0, 0], WORK / 4);
  words.set([0, 0], FAILURE / 4);
}

/** The dispatcher's module. Without threads it only has `serial`. */
export function dispatcherModule(features: Features, threads: boolean): Uint8Array<ArrayBuffer> {
  const module = new Assembler(features);
  module.importTable();
  if (threads) module.importFunction("install", [], null);
  const turn = addTurn(module);
  module.export("turn", turn);
  module.export("serial", addSerial(module, turn));
  if (!threads) return module.bytes();
  const advance = addAdvance(module, turn);
  const participate = addParticipate(module, advance);
  const run = module.func("run", ["i32", "i32"]);
  run.do(module.call(advance, run.int(0)));
  run.do(module.call(participate, i32.const(1), run.int(1)));
  module.export("run", run);
  const work = module.func("work", []);
  work.do(module.call(participate, i32.const(0), i32.const(1)));
  module.export("work", work);
  return module.bytes();
}
