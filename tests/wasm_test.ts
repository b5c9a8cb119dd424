/** What only the WebAssembly backend can get wrong: generated code, polynomials, products, memory. @module */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Assembler } from "../backends/wasm/assembler.ts";
import { detectFeatures } from "../backends/wasm/features.ts";
import { i32 } from "../backends/wasm/instructions.ts";
import { Heap } from "../backends/wasm/memory.ts";
import { f32x4, v128 } from "../backends/wasm/simd.ts";
import * as tn from "../mod.ts";
import { testOn } from "./devices.ts";

const wasm = (name: string, f: () => Promise<void>) => testOn("wasm", `wasm: ${name}`, f);

/** Numbers in [0, 1) that look random and are the same on every run. */
function noise(count: number, seed = 1): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  });
}

Deno.test("wasm: the assembler's loops and vectors run", () => {
  const features = detectFeatures();
  if (!features) return;
  const module = new Assembler({ ...features, sharedMemory: false });
  const f = module.func("affine", ["i32", "i32"]); // (pointer, count): x -> 2 x + 1
  f.for({ to: f.int(1), step: 4 }, (i) => {
    const address = f.let(i32.add(f.int(0), i32.shl(i, 2)));
    const x = f.let(v128.load(address));
    f.do(v128.store(address, f.madd(x, f32x4.const(2), f32x4.const(1))));
  });
  module.export("affine", f);
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), { env: { memory } });
  const values = new Float32Array(memory.buffer, 64, 8);
  values.set([0, 1, 2, 3, 4, 5, 6, 7]);
  (exports.affine as (pointer: number, count: number) => void)(64, 8);
  assertEquals([...values], [1, 3, 5, 7, 9, 11, 13, 15]);
});

/** The distance from a float of this size to the next. */
function unitInLastPlace(x: number): number {
  const bits = new Int32Array(new Float32Array([Math.abs(x)]).buffer);
  const at = (n: number) => new Float32Array(new Int32Array([n]).buffer)[0];
  return at(bits[0] + 1) - at(bits[0]);
}

/** The error function in double precision, by its series. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let sum = 0, term = x;
  for (let n = 0; n < 120; n++) {
    sum += term / (2 * n + 1);
    term *= -x * x / (n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}

interface Curve {
  readonly compute: (x: tn.Tensor) => tn.Tensor;
  readonly exact: (x: number) => number;
  /** Samples lie evenly between these, */
  readonly range: readonly [number, number];
  /** and at these powers of ten, of both signs if the range has both. */
  readonly powers: readonly [number, number];
}

const curves: Record<string, Curve> = {
  exp: { compute: tn.exp, exact: Math.exp, range: [-104, 89], powers: [-10, 1.9] },
  expm1: { compute: tn.expm1, exact: Math.expm1, range: [-20, 88], powers: [-10, 1.9] },
  log: { compute: tn.log, exact: Math.log, range: [0.5, 2], powers: [-44, 38] },
  log2: { compute: tn.log2, exact: Math.log2, range: [0.5, 2], powers: [-44, 38] },
  log1p: { compute: tn.log1p, exact: Math.log1p, range: [-0.999, 2], powers: [-10, -0.1] },
  sin: { compute: tn.sin, exact: Math.sin, range: [-100, 100], powers: [-8, 38.4] },
  cos: { compute: tn.cos, exact: Math.cos, range: [-100, 100], powers: [-8, 38.4] },
  tan: { compute: tn.tan, exact: Math.tan, range: [-100, 100], powers: [-8, 38.4] },
  tanh: { compute: tn.tanh, exact: Math.tanh, range: [-12, 12], powers: [-10, 2] },
  sigmoid: { compute: tn.sigmoid, exact: (x) => 1 / (1 + Math.exp(-x)), range: [-80, 40], powers: [-10, 1] },
  erf: { compute: tn.erf, exact: erf, range: [-5, 5], powers: [-10, 0.6] },
};

wasm("transcendentals are within 4 ULP or 1e-6 of the double", async () => {
  await tn.use("wasm");
  const count = 20_000;
  for (const [name, { compute, exact, range: [low, high], powers: [from, to] }] of Object.entries(curves)) {
    const random = noise(2 * count);
    const xs = random.map((r, i) => {
      if (i < count) return low + (high - low) * r;
      const size = 10 ** (from + (to - from) * r);
      return low < 0 && i % 2 === 1 ? -size : size;
    });
    using y = tn.scope(() => compute(tn.tensor(xs)));
    (await y.data()).forEach((value, i) => {
      const want = exact(xs[i]);
      const error = Math.abs(value - want);
      const fits = Object.is(value, Math.fround(want)) || error <= 4 * unitInLastPlace(want) ||
        error <= 1e-6 * Math.abs(want);
      assert(fits, `${name}(${xs[i]}) is ${value}, expected ${want}`);
    });
  }
});

wasm("every half float survives the way to f32 and back", async () => {
  await tn.use("wasm");
  const halves = new Float16Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
  using x = tn.tensor(halves);
  using wide = tn.cast(x, "f32");
  using back = tn.cast(wide, "f16");
  const [single, again] = [await wide.data(), await back.data()];
  halves.forEach((half, i) => {
    assert(Object.is(single[i], half), `half ${i} became ${single[i]}, expected ${half}`);
    assert(Object.is(again[i], half), `half ${i} came back as ${again[i]}, expected ${half}`);
  });
});

wasm("f32 rounds to halves as JavaScript does", async () => {
  await tn.use("wasm");
  const xs = noise(20_000).map((r, i) => (i % 2 ? -1 : 1) * 10 ** (-9 + 15 * r));
  using y = tn.scope(() => tn.cast(tn.tensor(xs), "f16"));
  assertEquals([...await y.data()], [...new Float16Array(xs)]);
});

wasm("products larger than a block agree with sums of products", async () => {
  await tn.use("wasm");
  for (const [m, k, n] of [[251, 801, 259], [13, 1000, 513], [487, 400, 389]]) {
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const [as, bs] = [noise(m * k, 2), noise(k * n, 3)];
        using c = tn.scope(() => {
          const a = tn.tensor(as, { shape: transposeA ? [k, m] : [m, k] });
          const b = tn.tensor(bs, { shape: transposeB ? [n, k] : [k, n] });
          return tn.matmul(a, b, { transposeA, transposeB });
        });
        const values = await c.data();
        for (let place = 0; place < m * n; place += 97) {
          const i = Math.floor(place / n), j = place % n;
          let sum = 0;
          for (let q = 0; q < k; q++) {
            sum += as[transposeA ? q * m + i : i * k + q] * bs[transposeB ? j * k + q : q * n + j];
          }
          assert(Math.abs(values[place] - sum) < 1e-5 * sum, `element ${i},${j} is ${values[place]}, expected ${sum}`);
        }
      }
    }
  }
});

wasm("regions that transpose different operands are different kernels", async () => {
  await tn.use("wasm");
  const x = tn.reshape(tn.arange(40 * 24), [40, 24]), y = tn.reshape(tn.arange(40 * 48), [40, 48]);
  const first = (x: tn.Tensor) => tn.transpose(x),
    second = (y: tn.Tensor) => tn.transpose(tn.slice(y, [0, 0], [40, 48], { step: [1, 2] }));
  const sums = [
    tn.compile((x: tn.Tensor, y: tn.Tensor) => tn.add(first(x), second(y))),
    tn.compile((x: tn.Tensor, y: tn.Tensor) => tn.add(second(y), first(x))),
  ];
  for (const sum of sums) {
    const values = await sum(x, y).data();
    values.forEach((value, at) => {
      const column = Math.floor(at / 40), row = at % 40;
      assertEquals(value, 24 * row + column + 48 * row + 2 * column);
    });
  }
});

Deno.test("wasm: the heap hands out blocks that do not overlap, and merges what comes back", () => {
  const heap = new Heap(false);
  const random = noise(4000, 7);
  const held: { start: number; bytes: number }[] = [];
  for (let i = 0; i < random.length; i += 2) {
    if (held.length > 0 && random[i] < 0.48) {
      const [{ start }] = held.splice(Math.floor(random[i] / 0.48 * held.length), 1);
      heap.free(start);
    } else {
      const bytes = Math.ceil(10 ** (5 * random[i + 1]));
      held.push({ start: heap.alloc(bytes), bytes });
    }
  }
  held.sort((a, b) => a.start - b.start).forEach(({ start, bytes }, i) => {
    assertEquals(start % 64, 0);
    if (i + 1 < held.length) assert(start + bytes <= held[i + 1].start, "blocks overlap");
  });
  const size = heap.bytes.length;
  for (const { start } of held) heap.free(start);
  heap.free(heap.alloc(size - (1 << 17))); // nearly all of it, in one piece
  assertEquals(heap.bytes.length, size);
  assertThrows(() => heap.alloc(2 ** 33), tn.BackendError, "the limit is 4 GB");
  assertThrows(() => heap.free(12345), tn.BackendError, "no such block");
});

Deno.test("wasm: vectors that reach past the end of a block stay inside the memory", () => {
  const heap = new Heap(false);
  let last = 0;
  for (const bytes of [1 << 24, 1 << 16, 3 << 20, 1 << 20, 1 << 22]) last = Math.max(last, heap.alloc(bytes) + bytes);
  while (heap.bytes.length - last > 1 << 17) last = Math.max(last, heap.alloc(1 << 16) + (1 << 16));
  for (let i = 0; i < 5000 && last < heap.bytes.length; i++) last = Math.max(last, heap.alloc(64) + 64);
  assert(last + 64 <= heap.bytes.length, `a block ends ${heap.bytes.length - last} bytes before the end`);
});

/** A loop whose calls are shared by threads, in memory that held other numbers before; prints the last carry. */
const LOOP = `
  import * as tn from ${JSON.stringify(import.meta.resolve("../mod.ts"))};
  import { createWasm } from ${JSON.stringify(import.meta.resolve("../backends/wasm/mod.ts"))};
  tn.registerBackend("wasm", () => createWasm({ threads: 2 }));
  await tn.use("wasm");
  const work = tn.ones([700, 700]);
  for (let i = 0; i < 40; i++) tn.matmul(work, work).dispose(); // enough for the workers to be started
  tn.scope(() => {
    for (let size = 8; size < 4000; size += 8) tn.full([size], -1, { dtype: "i32" });
  });
  const loop = tn.compile((x) => tn.scan((x, _) => [tn.tanh(tn.matmul(x, x)), null], x, null, { length: 20 })[0]);
  console.log(await tn.sum(loop(tn.zeros([300, 300]))).item());
  Deno.exit(0);
`;

/** Products in memory that grows while a worker starts, and after; prints how many are wrong. */
const GROWTH = `
  import * as tn from ${JSON.stringify(import.meta.resolve("../mod.ts"))};
  import { createWasm } from ${JSON.stringify(import.meta.resolve("../backends/wasm/mod.ts"))};
  let wrong = 0;
  for (let run = 0; run < 4; run++) {
    tn.registerBackend("wasm" + run, () => ({ ...createWasm({ threads: 2 }), name: "wasm" + run }));
    await tn.use("wasm" + run);
    const weight = tn.ones([300, 300]), begin = performance.now(), held = [];
    for (let i = 0; i < 3000; i++) held.push(tn.ones([16 * (1 + i % 40)])); // no small blocks stay free
    while (performance.now() - begin < 60 + 5 * run) tn.matmul(weight, weight).dispose(); // the worker is starting
    for (let i = 0; i < 40; i++) {
      for (let k = 0; k < 60; k++) held.push(tn.ones([16 * (1 + k % 40)]));
      const x = tn.ones([300, 300 + 8 * i]), y = tn.matmul(weight, x);
      if (y.dataSync()[0] !== 300) wrong++;
      held.push(x, y);
    }
    for (const tensor of held) tensor.dispose();
  }
  console.log(wrong);
  Deno.exit(0);
`;

/** What a program prints that runs in a process of its own, which a minute ends. */
async function outputOf(program: string): Promise<string> {
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(path, program);
    const args = ["run", "--quiet", "--no-check", "--allow-all", path], signal = AbortSignal.timeout(60_000);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, signal }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(path);
  }
}

wasm("a loop on several threads ends, whatever was in memory", async () => assertEquals(await outputOf(LOOP), "0\n"));

wasm("threads notice memory that was added", async () => assertEquals(await outputOf(GROWTH), "0\n"));
