/**
 * What the benches can be told.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { Format } from "./table.ts";

/** Which devices a bench may run on. */
export type Device = "wasm" | "webgpu" | "cpu";

/** What a bench was told. */
export interface BenchOptions {
  readonly devices: readonly Device[];
  readonly format: Format;
  /** Milliseconds of measuring for each entry of a contest. */
  readonly budget: number;
  /** Only rows whose name holds this. */
  readonly filter: string;
  /** Folder of the BLAS library for PyTorch; the system's own if undefined. */
  readonly blasFolder?: string;
  /** A Markdown file whose marked tables are to be filled in. */
  readonly write?: string;
  /** What is named without a flag. */
  readonly names: readonly string[];
}

const DEVICES: readonly Device[] = ["wasm", "webgpu", "cpu"];

const HELP = `
  --only wasm,webgpu,cpu   devices to run on (all)
  --filter matmul          only rows whose name holds this
  --seconds 1              time for each entry (1)
  --blas <folder>          where PyTorch finds its BLAS library (the system's)
  --markdown               tables in Markdown
  --write README.md        fill in the tables of a Markdown file
`;

/** Reads the command line; `usage` is the first line of the help. */
export function readOptions(usage: string, args: readonly string[] = Deno.args): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      only: { type: "string", default: DEVICES.join(",") },
      filter: { type: "string", default: "" },
      seconds: { type: "string", default: "1" },
      blas: { type: "string" },
      markdown: { type: "boolean", default: false },
      write: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(`${usage}\n${HELP}`);
    Deno.exit(0);
  }
  const devices = values.only.split(",");
  const unknown = devices.filter((device) => !DEVICES.includes(device as Device));
  if (unknown.length > 0) {
    throw new Error(`Cannot run on ${unknown.join(", ")}: it must be one of ${DEVICES.join(", ")}`);
  }
  return {
    devices: devices as Device[],
    format: values.markdown ? "markdown" : "text",
    budget: Number(values.seconds) * 1000,
    filter: values.filter,
    blasFolder: values.blas,
    write: values.write,
    names: positionals,
  };
}

/** Says on the terminal what is going on. */
export function report(line: string): void {
  console.error(`  ${line}`);
}
