/**
 * ONNX Runtime Web, which decodes: it has no gradients. PyTorch writes its model.
 *
 * @module
 */
import * as ort from "npm:onnxruntime-web@1.30.0";
import type { DecodeWorkload } from "../models.ts";
import { sample } from "../values.ts";
import { cacheInputs, type Job, type Library, type LibraryOptions, stepJob, tokenAt } from "./library.ts";

const VERSION = "1.30.0";

/** Loads its WASM module with so many threads. */
export function openOnnxRuntime({ threads = 1 }: LibraryOptions): Library {
  ort.env.wasm.numThreads = threads;
  return {
    description: VERSION,
    prepare(workload) {
      if (workload.kind !== "decode") throw new Error("it does not train");
      return decodeJob(workload);
    },
  };
}

/** The model as an ONNX file's contents. */
async function exportModel(workload: DecodeWorkload): Promise<Uint8Array> {
  const folder = await Deno.makeTempDir(), path = `${folder}/model.onnx`;
  try {
    const script = new URL("decode.py", import.meta.url).pathname, env = { PYTHONDONTWRITEBYTECODE: "1" };
    const python = new Deno.Command("/usr/bin/python3", { args: [script, path], env, stdin: "piped", stderr: "null" });
    const process = python.spawn(), input = process.stdin.getWriter();
    await input.write(new TextEncoder().encode(JSON.stringify(workload)));
    await input.close();
    const { success } = await process.status;
    if (!success) throw new Error("PyTorch, which would write its model, does not work here");
    return await Deno.readFile(path);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const integer = (value: number): ort.Tensor => new ort.Tensor("int64", BigInt64Array.of(BigInt(value)), [1]);

async function decodeJob(workload: DecodeWorkload): Promise<Job> {
  const session = await ort.InferenceSession.create(await exportModel(workload));
  const emptied = () =>
    cacheInputs(workload).map(({ data, shape }, i) => [`past${i}`, new ort.Tensor("float32", data, shape)] as const);
  let past: Record<string, ort.Tensor> = {};
  const step = async (number: number) => {
    const { token, position } = tokenAt(workload, number);
    if (position === workload.filled) past = Object.fromEntries(emptied());
    const results = await session.run({ token: integer(token), position: integer(position), ...past });
    past = Object.fromEntries(Object.keys(past).map((name) => [name, results[name.replace("past", "present")]]));
    return sample(results.logits.data as Float32Array);
  };
  return stepJob(step, () => void session.release());
}
