/** Transcendental functions over their whole range, against float64: within 4 units in the last place, or 1e-6. @module */
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";
import { random } from "./cases/case.ts";
import { testOn } from "./devices.ts";

interface Sweep {
  readonly op: (x: Tensor) => Tensor;
  /** The same in float64. */
  readonly truth: (x: number) => number;
  /** Arguments lie between these, spread evenly; or, with `sizes`, evenly over the powers of two between them. */
  readonly from: number;
  readonly to: number;
  readonly sizes?: boolean;
}

/** erf by its series and its continued fraction. */
function erf(x: number): number {
  if (Math.abs(x) > 2.5) {
    let fraction = 0;
    for (let k = 120; k > 0; k--) fraction = k / 2 / (Math.abs(x) + fraction);
    return Math.sign(x) * (1 - Math.exp(-x * x) / (Math.abs(x) + fraction) / Math.sqrt(Math.PI));
  }
  let term = x, sum = x;
  for (let n = 1; n < 60; n++) sum += (term *= -x * x / n) / (2 * n + 1);
  return sum * 2 / Math.sqrt(Math.PI);
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

const sweeps: Record<string, Sweep> = {
  exp: { op: tn.exp, truth: Math.exp, from: -87, to: 88.7 },
  "expm1 near 0": { op: tn.expm1, truth: Math.expm1, from: 1e-20, to: 1, sizes: true },
  expm1: { op: tn.expm1, truth: Math.expm1, from: -30, to: 88.7 },
  log: { op: tn.log, truth: Math.log, from: 1.2e-38, to: 3e38, sizes: true },
  "log near 1": { op: tn.log, truth: Math.log, from: 0.5, to: 2 },
  "log1p near 0": { op: tn.log1p, truth: Math.log1p, from: 1e-20, to: 1, sizes: true },
  log1p: { op: tn.log1p, truth: Math.log1p, from: -0.99, to: 10 },
  log2: { op: tn.log2, truth: Math.log2, from: 1.2e-38, to: 3e38, sizes: true },
  "log2 near 1": { op: tn.log2, truth: Math.log2, from: 0.5, to: 2 },
  sqrt: { op: tn.sqrt, truth: Math.sqrt, from: 1.2e-38, to: 3e38, sizes: true },
  rsqrt: { op: tn.rsqrt, truth: (x) => 1 / Math.sqrt(x), from: 1.2e-38, to: 3e38, sizes: true },
  sin: { op: tn.sin, truth: Math.sin, from: -3, to: 3 },
  cos: { op: tn.cos, truth: Math.cos, from: -1.5, to: 1.5 },
  tan: { op: tn.tan, truth: Math.tan, from: -1.5, to: 1.5 },
  "sin near 0": { op: tn.sin, truth: Math.sin, from: 1e-20, to: 1, sizes: true },
  "tanh near 0": { op: tn.tanh, truth: Math.tanh, from: 1e-20, to: 1, sizes: true },
  tanh: { op: tn.tanh, truth: Math.tanh, from: -12, to: 12 },
  sigmoid: { op: tn.sigmoid, truth: sigmoid, from: -80, to: 20 },
  "erf near 0": { op: tn.erf, truth: erf, from: 1e-20, to: 1, sizes: true },
  erf: { op: tn.erf, truth: erf, from: -5, to: 5 },
  "pow 2.5": { op: (x) => tn.pow(x, 2.5), truth: (x) => x ** 2.5, from: 1e-12, to: 1e12, sizes: true },
  "pow -0.7": { op: (x) => tn.pow(x, -0.7), truth: (x) => x ** Math.fround(-0.7), from: 1e-30, to: 1e30, sizes: true },
};

/** Arguments of a sweep, as f32 holds them. */
function argumentsOf({ from, to, sizes }: Sweep, count: number): Float32Array {
  const next = random(1);
  return Float32Array.from({ length: count }, () => {
    const t = next();
    return sizes ? from * (to / from) ** t : from + (to - from) * t;
  });
}

/** Distance between neighbouring f32 numbers at `x`. */
function ulp(x: number): number {
  return 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -126) - 23);
}

for (const [backend, relative] of [["cpu", 1e-7], ["wasm", 1e-6], ["webgpu", 1e-6]] as const) {
  for (const [name, sweep] of Object.entries(sweeps)) {
    testOn(backend, `${backend}: ${name} is accurate`, async () => {
      await tn.use(backend);
      const xs = argumentsOf(sweep, backend === "webgpu" ? 4096 : 20_000);
      const ys = await sweep.op(tn.tensor(xs)).data();
      let worst = 0, place = 0;
      xs.forEach((x, i) => {
        const y = sweep.truth(x), error = Math.abs(ys[i] - y) / Math.max(4 * ulp(y), relative * Math.abs(y));
        if (!(error <= worst)) [worst, place] = [Number.isNaN(error) ? Infinity : error, i];
      });
      if (worst > 1) {
        throw new Error(
          `f(${xs[place]}) is ${ys[place]}, expected ${sweep.truth(xs[place])} (${worst} times the bound)`,
        );
      }
    });
  }
}
