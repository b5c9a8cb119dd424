/**
 * Times training steps of models: forward, backward, optimizer, losses read back; and decoding. Everyone starts from the
 * same weights and sees the same batches, and the losses (or logits) of the first three steps must agree.
 *
 * ```text
 * gpt     nanoGPT's recipe for CPUs: batch 12, context 64, 4 layers, 4 heads, 128 channels; clipping, AdamW
 * cnn     the network of PyTorch's MNIST example: batch 64, dropout, Adadelta
 * lstm    char-rnn: 2 layers of 128 units, sequence 50, batch 50, 65 characters, state carried on; clipping, RMSprop
 * dcgan   PyTorch's DCGAN for digits of 32 x 32: batch 64, both networks updated, Adam
 * decode  GPT-2 small, one token after 128 others, batch 1, their keys and values kept; no training
 *
 * deno task bench cnn lstm --only wasm
 * ```
 *
 * @module
 */
import { contest, type Entry } from "./contest.ts";
import type { ContestantSpec } from "./contestant.ts";
import { CONTESTANTS, Lineup, ONNX_RUNTIME } from "./lineup.ts";
import { machine } from "./machine.ts";
import { cnnWorkload, dcganWorkload, type DecodeWorkload, decodeWorkload, lstmWorkload, type Style } from "./models.ts";
import { type BenchOptions, type Device, report } from "./options.ts";
import { best, type Contest } from "./summary.ts";
import { milliseconds, type Table, times } from "./table.ts";
import { gptWorkload, type ModelWorkload } from "./workloads.ts";

/** The models by name. */
export const MODELS: Readonly<Record<string, (style: Style) => ModelWorkload | DecodeWorkload>> = {
  gpt: gptWorkload,
  cnn: cnnWorkload,
  lstm: lstmWorkload,
  dcgan: dcganWorkload,
  decode: decodeWorkload,
};

/** A way to run a step. */
interface Way {
  readonly spec: ContestantSpec;
  readonly title: string;
  readonly style: Style;
  /** Whether it may stand for its library in the speed table. */
  readonly counts: boolean;
}

/** The ways of one library; Tenon's compiled step comes first. */
function waysOf(spec: ContestantSpec): readonly Way[] {
  const { title, library } = spec;
  switch (library) {
    case "tenon":
      return [
        { spec, title, style: "compiled", counts: true },
        { spec, title: title.replace("Tenon", "Tenon eager"), style: "eager", counts: false },
      ];
    case "tfjs":
      return [
        { spec, title: `${title}, tuned`, style: "tuned", counts: true },
        { spec, title: `${title}, as written`, style: "as written", counts: true },
      ];
    case "jaxjs":
      return [{ spec, title: `${title}, jit`, style: "compiled", counts: true }];
    case "pytorch":
    case "onnxruntime":
      return [{ spec, title, style: "eager", counts: true }];
  }
}

/** The ways of one library to decode. */
function waysToDecode(spec: ContestantSpec): readonly Way[] {
  const { title, library } = spec;
  const plain: Way = { spec, title, style: "compiled", counts: true };
  if (library === "tenon") return [plain, { spec, title: `${title}, weights summed`, style: "reading", counts: false }];
  if (library !== "pytorch") return [plain];
  return [
    { spec, title: `${title}, addmv`, style: "addmv", counts: true },
    { spec, title: `${title}, linear`, style: "linear", counts: true },
  ];
}

/** Everyone's ways on one device. */
function waysOn(device: Device, model: string): readonly Way[] {
  if (model !== "decode") return CONTESTANTS[device].flatMap(waysOf);
  return [...CONTESTANTS[device], ...(device === "wasm" ? [ONNX_RUNTIME] : [])].flatMap(waysToDecode);
}

/** Times one model on one device. */
export async function timeModel(model: string, device: Device, options: BenchOptions): Promise<Contest> {
  await using lineup = new Lineup();
  const entries: Entry[] = [];
  for (const { spec, title, style, counts } of waysOn(device, model)) {
    report(`${device}: ${model}, ${title}`);
    const workload = MODELS[model](style);
    // TensorFlow.js on WebGPU overwrites uniforms of work that it has batched but not submitted: its losses are a bit off.
    const tolerance = spec.library === "tfjs" && device === "webgpu" ? 5 * workload.tolerance : workload.tolerance;
    entries.push({
      title,
      column: counts ? spec.column : null,
      contestant: await lineup.start(spec, options),
      workload: { ...workload, tolerance },
    });
  }
  const outcomes = await contest(entries, options);
  return { device, name: entries[0].workload.name, outcomes, descriptions: lineup.descriptions };
}

/** Every way to run a step, with what its first steps took. */
export function detail({ device, name, outcomes, descriptions }: Contest): Table {
  const own = outcomes[0].median;
  const rows = outcomes.map(({ title, median, fastest, first, runs }) => [
    title,
    ...(median === null || fastest === null || first === null
      ? ["not here", "", "", "", ""]
      : [milliseconds(median), own ? times(median / own) : "", milliseconds(fastest), milliseconds(first), `${runs}`]),
  ]);
  const pytorch = best(outcomes, "PyTorch");
  return {
    title: `${name}, ${device}`,
    columns: ["", "median", `of ${outcomes[0].title}`, "fastest", "first step", "steps"],
    rows,
    notes: [
      machine(),
      [...descriptions].sort().join("; "),
      ...outcomes.filter(({ reason }) => reason !== null).map(({ title, reason }) => `${title}: not here: ${reason}.`),
      "First step: compilation included.",
      ...outcomes.filter(({ difference }) => difference > 1e-3)
        .map(({ title, difference }) => `${title}: its results differ by ${difference.toExponential(1)}.`),
      ...(pytorch?.median ? [`The best setting for PyTorch here: ${pytorch.title}.`] : []),
    ],
  };
}
