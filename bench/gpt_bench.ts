/**
 * Times a GPT's training step (nanoGPT's recipe for CPUs: batch 12, context 64, 4 layers, 4 heads, 128 channels):
 * forward, backward, clipping, AdamW, loss read back. Everyone starts from the same weights and sees the same batches,
 * and the first three losses must agree.
 *
 * ```text
 * deno run -A bench/gpt_bench.ts --only wasm
 * ```
 *
 * @module
 */
import { contest, type Entry, type Outcome } from "./contest.ts";
import type { ContestantSpec } from "./contestant.ts";
import { best, CONTESTANTS, Lineup } from "./lineup.ts";
import { machine } from "./machine.ts";
import { type BenchOptions, type Device, readOptions, report } from "./options.ts";
import type { Contest } from "./summary.ts";
import { milliseconds, render, type Table, times } from "./table.ts";
import { type GptStyle, gptWorkload } from "./workloads.ts";

/** A way to run the step. */
interface Way {
  readonly spec: ContestantSpec;
  readonly title: string;
  readonly style: GptStyle;
}

/** The ways of one library; Tenon's compiled step comes first. */
function waysOf(spec: ContestantSpec): readonly Way[] {
  const { title, library } = spec;
  switch (library) {
    case "tenon":
      return [
        { spec, title, style: "compiled" },
        { spec, title: title.replace("Tenon", "Tenon eager"), style: "eager" },
      ];
    case "tfjs":
      return [
        { spec, title: `${title}, tuned`, style: "tuned" },
        { spec, title: `${title}, as written`, style: "as written" },
      ];
    case "jaxjs":
      return [{ spec, title: `${title}, jit`, style: "compiled" }];
    case "pytorch":
      return [{ spec, title, style: "eager" }];
  }
}

/** Times the step on one device. */
export async function timeGpt(device: Device, options: BenchOptions): Promise<{ contest: Contest; table: Table }> {
  await using lineup = new Lineup();
  const entries: Entry[] = [];
  for (const { spec, title, style } of CONTESTANTS[device].flatMap(waysOf)) {
    report(`${device}: gpt step, ${title}`);
    const workload = gptWorkload(style);
    // TensorFlow.js on WebGPU overwrites uniforms of work that it has batched but not submitted: its losses are a bit off.
    const tolerance = spec.library === "tfjs" && device === "webgpu" ? 5 * workload.tolerance : workload.tolerance;
    entries.push({ title, contestant: await lineup.start(spec, options), workload: { ...workload, tolerance } });
  }
  const outcomes = await contest(entries, options);
  return { contest: { name: "gpt training step", outcomes }, table: tableOf(device, outcomes, lineup) };
}

function tableOf(device: Device, outcomes: readonly Outcome[], lineup: Lineup): Table {
  const own = outcomes[0].median;
  const rows = outcomes.map(({ title, median, fastest, first, runs }) => [
    title,
    ...(median === null || fastest === null || first === null
      ? ["not here", "", "", "", ""]
      : [milliseconds(median), own ? times(median / own) : "", milliseconds(fastest), milliseconds(first), `${runs}`]),
  ]);
  const pytorch = best(outcomes, "PyTorch")?.title;
  return {
    title: `GPT training step, ${device}`,
    columns: ["", "median", `of ${outcomes[0].title}`, "fastest", "first 3 steps", "steps"],
    rows,
    notes: [
      machine(),
      [...lineup.descriptions].sort().join("; "),
      ...outcomes.filter(({ reason }) => reason !== null).map(({ title, reason }) => `${title}: not here: ${reason}.`),
      "First 3 steps: from the weights on, compilation included.",
      ...outcomes.filter(({ difference }) => difference > 1e-3)
        .map(({ title, difference }) => `${title}: its losses differ by ${difference.toExponential(1)}.`),
      ...(pytorch === undefined ? [] : [`PyTorch's best setting here: ${pytorch}.`]),
    ],
  };
}

if (import.meta.main) {
  const options = readOptions("deno run -A bench/gpt_bench.ts: times a GPT's training step beside its peers");
  for (const device of options.devices) {
    if (device !== "cpu") console.log(render((await timeGpt(device, options)).table, options.format));
  }
}
