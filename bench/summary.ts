/**
 * The speed table: one row for each piece of work, Tenon first, its peers with their ratios to it.
 *
 * @module
 */
import type { Outcome } from "./contest.ts";
import { best, CONTESTANTS, type Lineup } from "./lineup.ts";
import { machine } from "./machine.ts";
import type { Device } from "./options.ts";
import { milliseconds, type Table, times } from "./table.ts";

/** How everyone fared at one piece of work. */
export interface Contest {
  readonly name: string;
  readonly outcomes: readonly Outcome[];
}

const TITLES: Readonly<Record<Device, string>> = { wasm: "WebAssembly", webgpu: "WebGPU", cpu: "Plain JavaScript" };

/** The table of one device. */
export function summarize(device: Device, contests: readonly Contest[], lineup: Lineup): Table {
  const columns = [...new Set(CONTESTANTS[device].map(({ title }) => title.startsWith("PyTorch") ? "PyTorch" : title))];
  const rows = contests.map(({ name, outcomes }) => {
    const own = best(outcomes, columns[0])?.median ?? null;
    return [name, ...columns.map((column) => cell(best(outcomes, column), own))];
  });
  return {
    title: TITLES[device],
    columns: ["", ...columns],
    rows,
    notes: [
      machine(),
      [...lineup.descriptions].sort().join("; "),
      `Medians. In brackets: how many times as long as ${columns[0]} it takes.`,
      ...(device === "wasm" ? ["PyTorch: the best of its settings for threads."] : []),
      ...absences(contests),
    ],
  };
}

function cell(outcome: Outcome | undefined, own: number | null): string {
  if (outcome === undefined || outcome.median === null) return "not here";
  const time = milliseconds(outcome.median);
  return own === null || outcome.median === own ? time : `${time} (${times(outcome.median / own)})`;
}

/** What did not run, and why; the same reason once. */
function absences(contests: readonly Contest[]): string[] {
  const missing = new Map<string, string[]>();
  for (const { name, outcomes } of contests) {
    for (const { title, reason } of outcomes) {
      if (reason === null) continue;
      const key = `${title}: not here: ${reason}`;
      missing.set(key, [...missing.get(key) ?? [], name]);
    }
  }
  return [...missing].map(([key, names]) => names.length === contests.length ? key : `${key} (${names.join(", ")})`);
}
