/**
 * Single ops for `deno bench`: a group for each op, Tenon's backends and the peers as its rows, all in one process.
 *
 * ```text
 * deno bench -A bench/ops_bench.ts --filter "matmul 512"
 * ```
 * Every row waits for the device, and its result is compared with the first row's before it is timed.
 *
 * @module
 */
import { relativeDifference } from "./contest.ts";
import { CONTESTANTS } from "./lineup.ts";
import { type Job, type Library, openLibrary } from "./libraries/mod.ts";
import { opsFor } from "./ops.ts";
import { type Device, report } from "./options.ts";
import { sample } from "./values.ts";
import type { OpWorkload } from "./workloads.ts";

/** The one job that holds memory. */
let current: { readonly name: string; readonly job: Job } | undefined;

/** What the first row of a group gave. */
const references = new Map<string, number[]>();

async function prepare(name: string, library: Library, workload: OpWorkload): Promise<Job> {
  if (current?.name === name) return current.job;
  current?.job.dispose();
  current = { name, job: await library.prepare(workload) };
  const values = sample(await current.job.values()), reference = references.get(workload.name) ?? values;
  references.set(workload.name, reference);
  const difference = relativeDifference(values, reference);
  if (!(difference <= workload.tolerance)) throw new Error(`${name} differs by ${difference.toExponential(1)}`);
  return current.job;
}

for (const device of ["wasm", "webgpu", "cpu"] satisfies Device[]) {
  for (const spec of CONTESTANTS[device]) {
    if (spec.library === "pytorch") continue;
    const library = await openLibrary(spec.library, spec).catch((error) => {
      report(`${spec.title} ${device}: not here: ${error.message}`);
    });
    for (const workload of opsFor(device, "")) {
      const name = `${spec.title} ${device} ${workload.name}`;
      const rare = device === "wasm" ? {} : { n: 3, warmup: 1 }; // software adapters take seconds
      Deno.bench({ name, group: workload.name, ignore: !library, ...rare }, async (b) => {
        const job = await prepare(name, library!, workload);
        b.start();
        await job.run();
        b.end();
      });
    }
  }
}
