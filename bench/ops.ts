/**
 * Times single ops: Tenon beside its peers, device by device, each library in a process of its own.
 *
 * ```text
 * deno run -A bench/ops.ts --only wasm --filter matmul
 * ```
 * `ops_bench.ts` has the same rows for `deno bench`.
 *
 * @module
 */
import { contest, type Entry } from "./contest.ts";
import { CONTESTANTS, Lineup } from "./lineup.ts";
import { type BenchOptions, type Device, readOptions, report } from "./options.ts";
import { type Contest, summarize } from "./summary.ts";
import { render } from "./table.ts";
import { type OpWorkload, opWorkloads } from "./workloads.ts";

/** The ops that a device is timed on; loops in plain JavaScript are not made for large ones. */
export function opsFor(device: Device, filter: string): readonly OpWorkload[] {
  return opWorkloads.filter(({ name }) => name.includes(filter) && (device !== "cpu" || name === "matmul 256"));
}

/** Runs the contests of one device. */
export async function timeOps(device: Device, options: BenchOptions): Promise<Contest[]> {
  await using lineup = new Lineup();
  const runners: Omit<Entry, "workload">[] = [];
  for (const spec of CONTESTANTS[device]) {
    runners.push({ title: spec.title, column: spec.column, contestant: await lineup.start(spec, options) });
  }
  const contests: Contest[] = [];
  for (const workload of opsFor(device, options.filter)) {
    report(`${device}: ${workload.name}`);
    const outcomes = await contest(runners.map((runner) => ({ ...runner, workload })), options);
    contests.push({ device, name: workload.name, outcomes, descriptions: lineup.descriptions });
  }
  return contests;
}

if (import.meta.main) {
  const options = readOptions("deno run -A bench/ops.ts: times single ops beside their peers");
  const contests: Contest[] = [];
  for (const device of options.devices) contests.push(...await timeOps(device, options));
  console.log(render(summarize(contests), options.format));
}
