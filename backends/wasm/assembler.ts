/**
 * A small WebAssembly assembler: functions are written as typed expressions and structured statements, and come out as
 * the bytes of a module.
 *
 * ```ts ignore
 * const module = new Assembler({ relaxedSimd: false, sharedMemory: false });
 * const f = module.func("double", ["i32", "i32"]); // (pointer, count)
 * const [pointer, count] = f.params as Local<"i32">[];
 * f.for({ to: count, step: 4 }, (i) => {
 *   const address = f.let(i32.add(pointer, i32.shl(i, 2)));
 *   const x = f.let(v128.load(address));
 *   f.do(v128.store(address, f32x4.add(x, x)));
 * });
 * const bytes = module.bytes();
 * ```
 *
 * @module
 */
import { type Code, type Expr, flatten, type I32, i32, uleb, type Value, type ValueType } from "./instructions.ts";
import { f32x4, i32x4, v128 } from "./simd.ts";

const TYPE_CODE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
const EMPTY_BLOCK = 0x40;

/** A variable of a function; as an expression it is its current value. */
export interface Local<T extends ValueType = ValueType> extends Expr<T> {
  readonly index: number;
}

/** A variable that is a pointer, a count or a condition. */
export type Int = Local<"i32">;

/** What the engine can do, and so which instructions may be used. */
export interface Features {
  /** `f32x4.relaxed_madd` and friends: a fused multiply-add where the machine has one. */
  readonly relaxedSimd: boolean;
  /** Shared memory and atomics. */
  readonly sharedMemory: boolean;
}

/** Bounds and step of a counted loop; from 0 and by 1 if not given. The bounds are unsigned. */
export interface Range {
  readonly from?: I32;
  readonly to: I32;
  readonly step?: I32;
}

/** One function being written. Statements are appended in order. */
export class Func {
  readonly params: readonly Local[];
  readonly #locals: ValueType[] = [];
  #code: Code[] = [];
  #depth = 0;

  constructor(
    readonly module: Assembler,
    readonly index: number,
    readonly name: string,
    readonly inputs: readonly ValueType[],
    readonly output: ValueType | null,
  ) {
    this.params = inputs.map((type, i) => ({ type, index: i, code: [0x20, uleb(i)] }));
  }

  /** Parameter `i`, as a pointer or a count. */
  int(i: number): Int {
    return this.params[i] as Int;
  }

  /** A new variable, zero when the function starts. */
  local<T extends ValueType>(type: T): Local<T> {
    const index = this.inputs.length + this.#locals.push(type) - 1;
    return { type, index, code: [0x20, uleb(index)] };
  }

  /** A new variable holding the value of `expr` from here on. */
  let<T extends ValueType>(expr: Expr<T>): Local<T> {
    const local = this.local(expr.type);
    this.set(local, expr);
    return local;
  }

  /** Assigns to a variable. */
  set<T extends ValueType>(local: Local<T>, value: Value<T>): void {
    this.#code.push([i32.of(value as I32).code, 0x21, uleb(local.index)]);
  }

  /** Adds to an integer variable. */
  increase(local: Int, by: I32): void {
    this.set(local, i32.add(local, by));
  }

  /** A new variable holding `value`, but `most` if that is less; both unsigned. */
  min(value: Expr<"i32">, most: Value<"i32">): Int {
    return this.let(i32.min_u(this.let(value), most));
  }

  /** Runs an instruction for its effect: a store, or a call that returns nothing. */
  do(statement: Expr<"none">): void {
    this.#code.push(statement.code);
  }

  /** Runs an instruction for its effect and forgets its value. */
  drop(expr: Expr<ValueType>): void {
    this.#code.push([expr.code, 0x1a]);
  }

  /** Ends the function. */
  return(value?: Expr<ValueType>): void {
    this.#code.push([value ? value.code : [], 0x0f]);
  }

  /**
   * Writes parts that do not depend on each other in lockstep: the first statement of each, then the second of each, and
   * so on. While one part waits for a result the processor has work from the others.
   */
  lockstep(parts: readonly (() => void)[]): void {
    const lists = parts.map((part) => this.#inside(0, part));
    const most = Math.max(...lists.map((list) => list.length));
    for (let i = 0; i < most; i++) this.#code.push(lists.map((list) => list[i] ?? []));
  }

  /** The statements that `write` writes, `depth` blocks further in. */
  #inside(depth: number, write: () => void): Code[] {
    const outside = this.#code;
    this.#code = [];
    this.#depth += depth;
    write();
    this.#depth -= depth;
    const code = this.#code;
    this.#code = outside;
    return code;
  }

  /** Runs `then` if the condition is not zero, `otherwise` if it is. */
  if(condition: Expr<"i32">, then: () => void, otherwise?: () => void): void {
    const code = [condition.code, 0x04, EMPTY_BLOCK, this.#inside(1, then)];
    if (otherwise) code.push(0x05, this.#inside(1, otherwise));
    this.#code.push([code, 0x0b]);
  }

  /** Runs `body` and repeats it while the condition that it returns is not zero. */
  repeat(body: () => Expr<"i32">): void {
    const code = this.#inside(1, () => {
      const again = body();
      this.#code.push([again.code, 0x0d, 0]);
    });
    this.#code.push([0x03, EMPTY_BLOCK, code, 0x0b]);
  }

  /** Repeats `body` as long as the condition is not zero; it is looked at first. */
  while(condition: Expr<"i32">, body: () => void): void {
    this.if(condition, () =>
      this.repeat(() => {
        body();
        return condition;
      }));
  }

  /** Repeats `body`, which gets a function that leaves the loop. */
  loop(body: (leave: () => void) => void): void {
    const outside = this.#depth;
    const leave = () => void this.#code.push([0x0c, uleb(this.#depth - outside - 1)]);
    const code = this.#inside(2, () => body(leave));
    this.#code.push([0x02, EMPTY_BLOCK, 0x03, EMPTY_BLOCK, code, 0x0c, 0, 0x0b, 0x0b]);
  }

  /** Counts a new variable through a range, comparing unsigned; it is left at the first value past the end. */
  for({ from = 0, to, step = 1 }: Range, body: (i: Int) => void): Int {
    const i = this.let(i32.of(from));
    this.count(i, { to, step }, () => body(i));
    return i;
  }

  /** Counts a variable on from its current value. */
  count(i: Int, { to, step = 1 }: Omit<Range, "from">, body: () => void): void {
    this.while(i32.lt_u(i, to), () => {
      body();
      this.increase(i, step);
    });
  }

  /** `a * b + c` in four f32 lanes, rounded once where the engine can. */
  madd(a: Expr<"v128">, b: Expr<"v128">, c: Expr<"v128">): Expr<"v128"> {
    return this.module.features.relaxedSimd ? f32x4.relaxed_madd(a, b, c) : f32x4.add(f32x4.mul(a, b), c);
  }

  /** `c - a * b` in four f32 lanes, rounded once where the engine can. */
  nmadd(a: Expr<"v128">, b: Expr<"v128">, c: Expr<"v128">): Expr<"v128"> {
    return this.module.features.relaxedSimd ? f32x4.relaxed_nmadd(a, b, c) : f32x4.sub(c, f32x4.mul(a, b));
  }

  /** `a` in lanes where the mask has all bits, `b` where it has none. */
  select(mask: Expr<"v128">, a: Expr<"v128">, b: Expr<"v128">): Expr<"v128"> {
    return this.module.features.relaxedSimd ? i32x4.relaxed_laneselect(mask, a, b) : v128.select(mask, a, b);
  }

  /** The function's body, ready for the module's code section. Constants become variables, set at the start. */
  body(): number[] {
    const constants = new Map<string, Local<"v128">>();
    const start: Code[] = [];
    const code = flatten(this.#code, (constant) => {
      const key = constant.bytes.join();
      let local = constants.get(key);
      if (!local) {
        local = this.local("v128");
        constants.set(key, local);
        start.push(0xfd, 12, [...constant.bytes], 0x21, uleb(local.index));
      }
      return [0x20, ...uleb(local.index)];
    });
    const body = [...flatten([this.#declarations(), start]), ...code, 0x0b];
    return [...uleb(body.length), ...body];
  }

  /** Types of the variables, neighbours of one type counted together. */
  #declarations(): Code {
    const groups: [ValueType, number][] = [];
    for (const type of this.#locals) {
      const last = groups.at(-1);
      if (last?.[0] === type) last[1]++;
      else groups.push([type, 1]);
    }
    return vector(groups.map(([type, count]) => [uleb(count), TYPE_CODE[type]]));
  }
}

function vector(items: readonly Code[]): Code {
  return [uleb(items.length), items as Code];
}

function text(string: string): Code {
  const bytes = [...new TextEncoder().encode(string)];
  return [uleb(bytes.length), bytes];
}

/** One module being written: functions, over one memory that is imported as `env.memory`. */
export class Assembler {
  readonly #types = new Map<string, { readonly index: number; readonly code: Code }>();
  readonly #imports: { name: string; code: Code }[] = [];
  readonly #functions: Func[] = [];
  readonly #exports: { name: string; index: number }[] = [];
  readonly #globals = new Map<string, Expr<"i32">>();
  readonly #once = new Map<string, Func>();
  #importedFunctions = 0;
  #hasTable = false;

  constructor(readonly features: Features) {}

  #type(inputs: readonly ValueType[], output: ValueType | null): number {
    const key = `${inputs.join()}->${output}`;
    let type = this.#types.get(key);
    if (!type) {
      const codes = (types: readonly ValueType[]) => vector(types.map((t) => [TYPE_CODE[t]]));
      type = { index: this.#types.size, code: [0x60, codes(inputs), codes(output ? [output] : [])] };
      this.#types.set(key, type);
    }
    return type.index;
  }

  /** The imported i32 constant `env.name`. */
  global(name: string): Expr<"i32"> {
    let global = this.#globals.get(name);
    if (!global) {
      global = { type: "i32", code: [0x23, uleb(this.#globals.size)] };
      this.#globals.set(name, global);
      this.#imports.push({ name, code: [0x03, TYPE_CODE.i32, 0] });
    }
    return global;
  }

  /** Imports a function `env.name`; imports come before functions. */
  importFunction(name: string, inputs: readonly ValueType[], output: ValueType | null): number {
    if (this.#functions.length > 0) throw new Error("Cannot import a function: the module has functions already");
    this.#imports.push({ name, code: [0x00, uleb(this.#type(inputs, output))] });
    return this.#importedFunctions++;
  }

  /** Imports the table of functions `env.table` that indirect calls go through. */
  importTable(): void {
    this.#imports.push({ name: "table", code: [0x01, 0x70, 0x00, 0] });
    this.#hasTable = true;
  }

  /** Adds a function. */
  func(name: string, inputs: readonly ValueType[], output: ValueType | null = null): Func {
    this.#type(inputs, output);
    const func = new Func(this, this.#importedFunctions + this.#functions.length, name, inputs, output);
    this.#functions.push(func);
    return func;
  }

  /** The function that `build` makes, made once a module. */
  once(key: string, build: () => Func): Func {
    let func = this.#once.get(key);
    if (!func) {
      func = build();
      this.#once.set(key, func);
    }
    return func;
  }

  /** Makes a function callable from JavaScript. */
  export(name: string, func: Func): void {
    this.#exports.push({ name, index: func.index });
  }

  /** Calls a function of this module that returns nothing. */
  call(func: Func | number, ...args: readonly Expr<ValueType>[]): Expr<"none"> {
    return {
      type: "none",
      code: [args.map((arg) => arg.code), 0x10, uleb(typeof func === "number" ? func : func.index)],
    };
  }

  /** Calls a function of this module for its value. */
  callFor<T extends ValueType>(type: T, func: Func | number, ...args: readonly Expr<ValueType>[]): Expr<T> {
    return { ...this.call(func, ...args), type };
  }

  /** Calls entry `index` of the imported table. */
  callIndirect(inputs: readonly ValueType[], index: Expr<"i32">, ...args: readonly Expr<ValueType>[]): Expr<"none"> {
    if (!this.#hasTable) throw new Error("Cannot call indirectly: the module imports no table");
    const type = this.#type(inputs, null);
    return { type: "none", code: [args.map((arg) => arg.code), index.code, 0x11, uleb(type), 0] };
  }

  /** Number of entries of the imported table. */
  tableSize(): Expr<"i32"> {
    return { type: "i32", code: [0xfc, 16, 0] };
  }

  /** The module's bytes. */
  bytes(): Uint8Array<ArrayBuffer> {
    const maximum = 65536;
    const memory: Code = [0x02, this.features.sharedMemory ? [3, 1, uleb(maximum)] : [0, 1]];
    const imports = [{ name: "memory", code: memory }, ...this.#imports];
    const section = (id: number, items: readonly number[][]): number[] => {
      const content = [uleb(items.length), ...items].flat();
      return [id, ...uleb(content.length), ...content];
    };
    return new Uint8Array([
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, [...this.#types.values()].map((type) => flatten(type.code))),
      section(2, imports.map(({ name, code }) => flatten([text("env"), text(name), code]))),
      section(3, this.#functions.map(({ inputs, output }) => uleb(this.#type(inputs, output)))),
      section(7, this.#exports.map(({ name, index }) => flatten([text(name), 0x00, uleb(index)]))),
      section(10, this.#functions.map((func) => func.body())),
    ].flat());
  }
}
