/**
 * All benches, or those that are named, and one table of speeds at the end.
 *
 * ```text
 * deno task bench                                    everything
 * deno task bench ops --only wasm --filter matmul    some ops on some device
 * deno task bench --write README.md                  figures for a README, see readme.ts
 * ```
 *
 * @module
 */
import { watchMemoryElsewhere } from "./memory_bench.ts";
import { detail, MODELS, timeModel } from "./models_bench.ts";
import { timeOps } from "./ops.ts";
import { readOptions } from "./options.ts";
import { weigh } from "./size_bench.ts";
import { timeStartup } from "./startup_bench.ts";
import { fillFile } from "./readme.ts";
import { type Contest, summarize, summarizeByDevice } from "./summary.ts";
import { render, type Table } from "./table.ts";

const BENCHES = ["memory", "size", "startup", ...Object.keys(MODELS), "ops"];

const options = readOptions(`deno task bench [${BENCHES.join(" | ")}]: everything is timed if nothing is named`);
const unknown = options.names.filter((name) => !BENCHES.includes(name));
if (unknown.length > 0) throw new Error(`Cannot bench ${unknown.join(", ")}: it must be ${BENCHES.join(", ")}`);
const wants = (name: string) => options.names.length === 0 || options.names.includes(name);
const tables = new Map<string, Table>();
const print = (table: Table, name?: string) => {
  console.log(render(table, options.format));
  if (name !== undefined) tables.set(name, table);
};

if (wants("memory")) print(await watchMemoryElsewhere(options.devices), "memory");
if (wants("size")) print(await weigh(), "size");
if (wants("startup")) print(await timeStartup(), "startup");

const contests: Contest[] = [];
for (const device of options.devices) {
  if (wants("ops")) contests.push(...await timeOps(device, options));
  for (const model of Object.keys(MODELS)) {
    if (!wants(model) || device === "cpu") continue;
    const contest = await timeModel(model, device, options);
    print(detail(contest));
    contests.push(contest);
  }
}
if (contests.length > 0) print(summarize(contests));
for (const [device, table] of summarizeByDevice(contests)) tables.set(`speed of ${device}`, table);
if (options.write !== undefined) await fillFile(options.write, tables);
