/**
 * Times a fresh process, its modules in Deno's cache, from its beginning to the first product of matrices read back
 * on WebAssembly. The programs are in `startup/`.
 *
 * ```text
 * deno run -A bench/startup_bench.ts
 * ```
 *
 * @module
 */
import { median } from "./contest.ts";
import { TITLES } from "./libraries/mod.ts";
import { machine } from "./machine.ts";
import { readOptions, report } from "./options.ts";
import { milliseconds, render, type Table, times } from "./table.ts";

const PROGRAMS = ["tenon", "tfjs", "jaxjs"] as const;
const RUNS = 15;

type Program = typeof PROGRAMS[number];

/** What a program prints. */
interface Start {
  /** Milliseconds since its process began. */
  readonly time: number;
  /** An element of the product, on which all must agree. */
  readonly value: number;
}

async function start(program: Program): Promise<Start> {
  const path = new URL(`startup/${program}.ts`, import.meta.url).href;
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", path],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim().split("\n")[0]);
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Runs every program several times, in turn. */
export async function timeStartup(): Promise<Table> {
  const samples = new Map<Program, number[]>(PROGRAMS.map((program) => [program, []]));
  const reasons = new Map<Program, string>();
  let reference: number | undefined;
  for (let run = 0; run <= RUNS; run++) {
    for (const program of PROGRAMS) {
      if (reasons.has(program)) continue;
      if (run === 0) report(`startup: ${TITLES[program]}`);
      try {
        const { time, value } = await start(program);
        reference ??= value;
        if (Math.abs(value - reference) > 1e-4) throw new Error(`its product is ${value} instead of ${reference}`);
        if (run > 0) samples.get(program)!.push(time); // the first run fills the caches
      } catch (error) {
        reasons.set(program, (error as Error).message);
      }
    }
  }
  return tableOf(samples, reasons);
}

function tableOf(samples: ReadonlyMap<Program, number[]>, reasons: ReadonlyMap<Program, string>): Table {
  const medians = new Map<Program, number>();
  for (const [program, values] of samples) {
    if (!reasons.has(program)) medians.set(program, median(values.toSorted((a, b) => a - b)));
  }
  const own = medians.get("tenon") ?? NaN;
  return {
    title: "Start: a fresh process, modules cached, to the first matmul read back (WebAssembly)",
    columns: ["", "median", "of Tenon", "fastest"],
    rows: PROGRAMS.map((program) => {
      const time = medians.get(program);
      if (time === undefined) return [TITLES[program], "not here", "", ""];
      return [TITLES[program], milliseconds(time), times(time / own), milliseconds(Math.min(...samples.get(program)!))];
    }),
    notes: [
      machine(),
      ...[...reasons].map(([program, reason]) => `${TITLES[program]}: not here: ${reason}`),
    ],
  };
}

if (import.meta.main) {
  const options = readOptions("deno run -A bench/startup_bench.ts: times the start of a process");
  console.log(render(await timeStartup(), options.format));
}
