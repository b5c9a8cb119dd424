/**
 * Watches memory over thousands of training steps of a small network: what the library counts as alive, and the
 * JavaScript heap after a collection.
 *
 * ```text
 * deno run -A bench/memory_bench.ts --only wasm
 * ```
 *
 * @module
 */
import * as tn from "../mod.ts";
import { machine } from "./machine.ts";
import { type Device, readOptions, report } from "./options.ts";
import { render, type Table } from "./table.ts";
import { uniform } from "./values.ts";

const SIZES = [32, 64, 8], BATCH = 16;

/** Step at which memory is taken as the measure. */
const SETTLED = 100;

interface Layer {
  readonly weight: tn.Tensor; // [in, out]
  readonly bias: tn.Tensor; // [out]
}

type Step = (params: Layer[], state: tn.OptimizerState) => readonly [tn.Tensor, Layer[], tn.OptimizerState];

function initialize(): Layer[] {
  return SIZES.slice(1).map((size, i) => ({
    weight: tn.tensor(uniform(SIZES[i] * size, i + 1, 0.2), { shape: [SIZES[i], size] }),
    bias: tn.zeros([size]),
  }));
}

/** What is alive at one moment. */
interface Snapshot {
  readonly tensors: number;
  readonly bytes: number;
  /** Of the JavaScript heap, after a collection. */
  readonly heap: number;
}

async function snapshot(): Promise<Snapshot> {
  await new Promise((resolve) => setTimeout(resolve)); // lets finalizers run
  (globalThis as unknown as { gc(): void }).gc();
  const { tensors, bytes } = tn.memory();
  return { tensors, bytes, heap: Deno.memoryUsage().heapUsed };
}

/** Trains for so many steps, in eager mode under `scope` or compiled with donation. */
async function train(style: "compiled" | "eager", steps: number): Promise<{ before: Snapshot; after: Snapshot }> {
  const x = tn.tensor(uniform(BATCH * SIZES[0], 11), { shape: [BATCH, SIZES[0]] });
  const target = tn.tensor(uniform(BATCH * SIZES[2], 12), { shape: [BATCH, SIZES[2]] });
  const optimizer = tn.adamw({ learningRate: 1e-3 });
  const lossOf = ([first, second]: Layer[]) =>
    tn.meanSquaredError(tn.linear(tn.tanh(tn.linear(x, first)), second), target);
  const update: Step = (params, state) => {
    const [loss, grads] = tn.valueAndGrad(lossOf)(params);
    return [loss, ...optimizer.update(grads, state, params)];
  };
  const compiled = tn.compile(update, { donate: [0, 1] });
  const eager: Step = (params, state) => {
    const next = tn.scope(() => update(params, state));
    dispose([params, state]);
    return next;
  };
  const step = style === "compiled" ? compiled : eager;

  let params = initialize(), state = optimizer.init(params), before: Snapshot | undefined;
  for (let i = 0; i < steps; i++) {
    if (i === SETTLED) before = await snapshot();
    let loss: tn.Tensor;
    [loss, params, state] = step(params, state);
    if (i % 100 === 0 && !Number.isFinite(await loss.item())) throw new Error(`the loss is not finite at step ${i}`);
    loss[Symbol.dispose]();
  }
  const after = await snapshot();
  dispose([params, state, x, target]);
  return { before: before!, after };
}

function dispose(tensors: unknown): void {
  for (const leaf of tn.tree.leaves(tensors)) (leaf as tn.Tensor)[Symbol.dispose]();
}

const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(1)} KB`;

/** Trains on each device. */
export async function watchMemory(devices: readonly Device[]): Promise<Table> {
  const rows: string[][] = [];
  for (const device of devices) {
    for (const [style, steps] of [["compiled", 5000], ["eager", 2000]] as const) {
      const name = `${device}, ${steps} ${style} steps`;
      report(`memory: ${name}`);
      try {
        await tn.use(device);
        const { before, after } = await train(style, steps);
        rows.push([
          name,
          `${after.tensors - before.tensors}`,
          `${after.bytes - before.bytes}`,
          kilobytes(after.heap - before.heap),
        ]);
      } catch (error) {
        rows.push([name, "not here", "", (error as Error).message]);
      }
    }
  }
  return {
    title: `Memory: growth from step ${SETTLED} to the last`,
    columns: ["", "tensors", "bytes", "JavaScript heap"],
    rows,
    notes: [machine(), `Network ${SIZES.join("-")}, batch ${BATCH}, AdamW.`],
  };
}

/** The same in a process whose collector can be called: this file with the argument `json`. */
export async function watchMemoryElsewhere(devices: readonly Device[]): Promise<Table> {
  const args = ["run", "--quiet", "-A", "--v8-flags=--expose-gc", import.meta.url, "--only", devices.join(","), "json"];
  const { stdout, success } = await new Deno.Command(Deno.execPath(), { args, stderr: "inherit" }).output();
  if (!success) throw new Error("Cannot watch memory: its process failed");
  return JSON.parse(new TextDecoder().decode(stdout));
}

if (import.meta.main) {
  const { devices, format, names } = readOptions("deno run -A bench/memory_bench.ts: watches memory while training");
  if (names.includes("json")) console.log(JSON.stringify(await watchMemory(devices)));
  else console.log(render(await watchMemoryElsewhere(devices), format));
  Deno.exit();
}
