/**
 * Tenon itself, as a user would call it.
 *
 * @module
 */
import { createWasm } from "../../backends/wasm/mod.ts";
import * as tn from "../../mod.ts";
import type { OpName, OpWorkload } from "../workloads.ts";
import { type Job, type Library, type LibraryOptions, opInputs } from "./library.ts";
import { decodeJob } from "./tenon_decode.ts";
import { modelJob } from "./tenon_models.ts";

const ops: Readonly<Record<OpName, (...inputs: tn.Tensor[]) => tn.Tensor>> = {
  matmul: (a, b) => tn.matmul(a, b),
  conv: (x, w) => tn.conv(x, w, { padding: 1 }),
  softmax: (x) => tn.softmax(x),
  layerNorm: (x, scale, shift) => tn.layerNorm(x, { scale, shift }),
  gelu: (x) => tn.gelu(x),
  exp: (x) => tn.exp(x),
  add: (a, b) => tn.add(a, b),
  sum: (x) => tn.sum(x, { axis: 1 }),
  maxPool: (x) => tn.maxPool(x, 2),
};

/** Makes a backend of Tenon the one in use; a WASM backend of so many threads gets a name of its own. */
export async function openTenon({ backend, threads }: LibraryOptions): Promise<Library> {
  const name = threads === undefined ? backend : `${backend}, ${threads} threads`;
  if (threads !== undefined) tn.registerBackend(name, () => ({ ...createWasm({ threads }), name }));
  const { description } = await tn.use(name);
  return {
    description: `${backend}${description && ` (${description})`}`,
    async prepare(workload) {
      await tn.use(name); // another library of this process may have chosen another one since
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
  const inputs = opInputs(workload).map(({ data, shape }) => tn.tensor(data, { shape })), f = ops[workload.op];
  return {
    async values() {
      using y = f(...inputs);
      return await y.data();
    },
    async run() {
      using y = f(...inputs);
      await y.backend.read(y.storage.buffer, 4); // one element: everything before it has run
    },
    dispose: () => inputs.forEach((input) => input[Symbol.dispose]()),
  };
}
