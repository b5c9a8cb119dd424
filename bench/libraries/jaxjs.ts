/**
 * jax-js, whose functions consume their arguments: `.ref` keeps one for another use. Composed ops are under `jit`.
 *
 * @module
 */
import {
  type Array as JaxArray,
  defaultDevice,
  type Device,
  init,
  jit,
  lax,
  nn,
  numpy as np,
} from "npm:@jax-js/jax@0.1.25";
import type { OpName, OpWorkload } from "../workloads.ts";
import { decodeJob } from "./jaxjs_decode.ts";
import { layerNorm, modelJob } from "./jaxjs_models.ts";
import { type Job, type Library, type LibraryOptions, opInputs } from "./library.ts";

const VERSION = "0.1.25";

const ops: Readonly<Record<OpName, (...inputs: JaxArray[]) => JaxArray>> = {
  matmul: (a, b) => np.matmul(a, b),
  conv: (x, w) => lax.conv(x, w, [1, 1], "SAME"),
  softmax: jit((x: JaxArray) => nn.softmax(x, -1)),
  layerNorm: jit((x: JaxArray, scale: JaxArray, shift: JaxArray) => layerNorm(x, scale, shift)),
  gelu: jit((x: JaxArray) => nn.gelu(x, { approximate: false })),
  exp: (x) => np.exp(x),
  add: (a, b) => a.add(b),
  sum: (x) => x.sum(1),
  maxPool: jit((x: JaxArray) => lax.reduceWindow(x, (window) => np.max(window), [2, 2], [2, 2])),
};

/** Makes a device of jax-js the default one. It runs as many threads as the machine has. */
export async function openJaxJs({ backend }: LibraryOptions): Promise<Library> {
  const device = backend as Device;
  if (!(await init(device)).includes(device)) throw new Error(`jax-js has no ${backend} here`);
  defaultDevice(device);
  return {
    description: VERSION,
    prepare(workload) {
      defaultDevice(device);
      switch (workload.kind) {
        case "op":
          return opJob(workload);
        case "decode":
          return decodeJob(workload);
        default:
          return modelJob(workload);
      }
    },
  };
}

function opJob(workload: OpWorkload): Job {
  const inputs = opInputs(workload).map(({ data, shape }) => np.array(data, { shape: [...shape] }));
  const f = ops[workload.op];
  return {
    values: () => f(...inputs.map((input) => input.ref)).data(),
    async run() {
      const y = f(...inputs.map((input) => input.ref));
      await y.blockUntilReady(); // computes, and reads nothing back after that
      y.dispose();
    },
    dispose: () => inputs.forEach((input) => input.dispose()),
  };
}
