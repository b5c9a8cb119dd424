/**
 * The speed table: one row for each piece of work, Tenon first, its peers with their ratios to it.
 *
 * @module
 */
import type { Outcome } from "./contest.ts";
import type { Column } from "./contestant.ts";
import { THREADS } from "./lineup.ts";
import { machine } from "./machine.ts";
import type { Device } from "./options.ts";
import { milliseconds, type Table, times } from "./table.ts";

/** How everyone fared at one piece of work. */
export interface Contest {
  readonly device: Device;
  readonly name: string;
  readonly outcomes: readonly Outcome[];
  /** What the libraries that took part say of themselves. */
  readonly descriptions: ReadonlySet<string>;
}

const DEVICES: Readonly<Record<Device, string>> = { wasm: "WASM", webgpu: "WebGPU", cpu: "JavaScript" };

const COLUMNS: readonly Column[] = [
  "Tenon",
  "Tenon, 1 thread",
  "TensorFlow.js",
  "jax-js",
  "ONNX Runtime Web",
  "PyTorch",
];

const SLOW_BLAS =
  "PyTorch's matmul is as slow as the reference BLAS that it found: install OpenBLAS (libopenblas0 on " +
  "Debian), or name its folder with --blas.";

/** The fastest of the outcomes that compete for `column`; the first if none ran. */
export function best(outcomes: readonly Outcome[], column: Column): Outcome | undefined {
  const time = ({ median }: Outcome) => median ?? Infinity;
  const candidates = outcomes.filter((outcome) => outcome.column === column);
  return candidates.reduce<Outcome | undefined>((a, b) => a && time(a) <= time(b) ? a : b, undefined);
}

/** A table for each device, whose rows do not name it. */
export function summarizeByDevice(contests: readonly Contest[]): Map<Device, Table> {
  const devices = new Set(contests.map(({ device }) => device));
  return new Map([...devices].map((device) => {
    const { rows, ...table } = summarize(contests.filter((contest) => contest.device === device));
    const unnamed = rows.map(([title, ...cells]) => [title.slice(`${DEVICES[device]}: `.length), ...cells]);
    return [device, { ...table, rows: unnamed }];
  }));
}

/** The table of all that was timed. */
export function summarize(contests: readonly Contest[]): Table {
  const columns = COLUMNS.filter((column) => contests.some(({ outcomes }) => best(outcomes, column)));
  const rows = contests.map(({ device, name, outcomes }) => {
    const own = best(outcomes, "Tenon")?.median ?? null;
    return [`${DEVICES[device]}: ${name}`, ...columns.map((column) => cell(best(outcomes, column), own))];
  });
  const descriptions = new Set(contests.flatMap(({ descriptions }) => [...descriptions]));
  return {
    title: "Speed",
    columns: ["", ...columns],
    rows,
    notes: [
      `Medians; in brackets, how many times as long it takes as Tenon on the same device (on WASM with ${THREADS} threads).`,
      ...(columns.includes("PyTorch") ? ["PyTorch: the best of its settings for threads."] : []),
      machine(),
      [...descriptions].sort().join("; "),
      ...([...descriptions].some((description) => description.includes("reference BLAS")) ? [SLOW_BLAS] : []),
      ...absences(contests),
    ],
  };
}

function cell(outcome: Outcome | undefined, own: number | null): string {
  if (outcome === undefined) return "";
  if (outcome.median === null) return "not here";
  const time = milliseconds(outcome.median);
  return own === null || outcome.column === "Tenon" ? time : `${time} (${times(outcome.median / own)})`;
}

/** What did not run, and why; the same reason once. */
function absences(contests: readonly Contest[]): string[] {
  const missing = new Map<string, string[]>();
  for (const { device, name, outcomes } of contests) {
    for (const { title, reason } of outcomes) {
      if (reason === null) continue;
      const key = `${DEVICES[device]}, ${title}: not here: ${reason}`;
      missing.set(key, [...missing.get(key) ?? [], name]);
    }
  }
  return [...missing].map(([key, names]) => `${key} (${names.join(", ")})`);
}
