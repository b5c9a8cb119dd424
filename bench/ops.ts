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
import { contest } from "./contest.ts";
import { CONTESTANTS, Lineup } from "./lineup.ts";
import { type BenchOptions, type Device, readOptions, report } from "./options.ts";
import { type Contest, summarize } from "./summary.ts";
import { render, type Table } from "./table.ts";
import { type OpWorkload, opWorkloads } from "./workloads.ts";

/** The ops that a device is timed on; loops in plain JavaScript are not made for large ones. */
export function opsFor(device: Device, filter: string): readonly OpWorkload[] {
  return opWorkloads.filter(({ name }) => name.includes(filter) && (device !== "cpu" || name === "matmul 256"));
}

/** Runs the contests of one device. */
export async function timeOps(device: Device, options: BenchOptions): Promise<Table> {
  await using lineup = new Lineup();
  const runners = [];
  for (const spec of CONTESTANTS[device]) {
    runners.push({ title: spec.title, contestant: await lineup.start(spec, options) });
  }
  const contests: Contest[] = [];
  for (const workload of opsFor(device, options.filter)) {
    report(`${device}: ${workload.name}`);
    const outcomes = await contest(runners.map((runner) => ({ ...runner, workload })), options);
    contests.push({ name: workload.name, outcomes });
  }
  return summarize(device, contests, lineup);
}

if (import.meta.main) {
  const options = readOptions("deno run -A bench/ops.ts: times single ops beside their peers");
  for (const device of options.devices) console.log(render(await timeOps(device, options), options.format));
}
