/**
 * What a run was asked for: `run.json` in the folder of its results, by which it can be resumed.
 *
 * @module
 */
import { join } from "@std/path";
import { writeFile } from "./files.ts";

/** A run, as its folder remembers it. */
export interface RunRecord {
  /** How its program is called. */
  readonly program: string;
  /** What it was given, by name. */
  readonly flags: Readonly<Record<string, unknown>>;
}

const FILE = "run.json";

/** Where a run, or the part of it with this name, is saved as it stands. */
export function checkpointPath(folder: string, part?: string): string {
  return join(folder, part === undefined ? "checkpoint.safetensors" : `checkpoint-${part}.safetensors`);
}

/** `deno task example examples/mnist.ts [flags]` without what follows the name. */
export function programOf({ usage }: { readonly usage: string }): string {
  return usage.replace(/ \[.*/, "");
}

/** Makes `folder` that of a new run: no checkpoint of an earlier one stays. */
export async function beginRecord(folder: string, record: RunRecord): Promise<void> {
  const checkpoint = /^checkpoint(-.+)?\.safetensors$/;
  for await (const { name } of Deno.readDir(folder)) {
    if (checkpoint.test(name)) await Deno.remove(join(folder, name));
  }
  await writeFile(join(folder, FILE), `${JSON.stringify(record, null, 2)}\n`);
}

/** Reads the record of a run of `program`. Throws an `Error` that says why there is nothing to resume. */
export async function readRecord(folder: string, program: string): Promise<RunRecord> {
  const fail = (reason: string) => new Error(`Cannot resume ${folder}: ${reason}`);
  let record: Partial<RunRecord> | null;
  try {
    record = JSON.parse(await Deno.readTextFile(join(folder, FILE)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw fail(`no run was begun there, it has no ${FILE}`);
    throw fail(`${FILE} is damaged: ${(error as Error).message}`);
  }
  if (!record?.program || !record.flags) throw fail(`${FILE} is no record of a run`);
  if (record.program !== program) throw fail(`it is a run of \`${record.program}\``);
  return record as RunRecord;
}
