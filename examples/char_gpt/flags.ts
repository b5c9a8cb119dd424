/**
 * The command line of the example.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";

/** What the command line asks for. */
export interface Flags {
  readonly help: boolean;
  readonly data?: string;
  readonly backend?: string;
  readonly out?: string;
  readonly from?: string;
  readonly prompt?: string;
  readonly steps: number;
  readonly seed: number;
  readonly batch: number;
  readonly context: number;
  readonly layers: number;
  readonly heads: number;
  readonly channels: number;
  readonly dropout: number;
  readonly learningRate: number;
  readonly evalInterval: number;
  readonly evalBatches: number;
  readonly sample: number;
  readonly temperature: number;
  readonly topK?: number;
}

/** A flag that takes a number: its default, its least value, and whether only whole numbers make sense. */
interface NumberFlag {
  readonly value?: number;
  readonly least: number;
  readonly whole: boolean;
  readonly help: string;
}

const count = (value: number, help: string, least = 1): NumberFlag => ({ value, least, whole: true, help });

const TEXTS: Readonly<Record<string, string>> = {
  data: "PATH|URL  text to learn (Moby-Dick, from npm)",
  backend: "NAME  wasm, webgpu or cpu (wasm, or cpu where that does not work)",
  out: "FOLDER  where results go (runs/NAME-OF-TEXT)",
  from: "FOLDER  only write a sample with the model saved there",
  prompt: "TEXT  how the sample begins (a new line)",
};

const NUMBERS: Readonly<Record<string, NumberFlag>> = {
  steps: count(1000, "training steps"),
  seed: count(1337, "the same seed gives the same losses", 0),
  batch: count(12, "windows of text in a step"),
  context: count(64, "characters in a window"),
  layers: count(4, "transformer blocks"),
  heads: count(4, "attention heads"),
  channels: count(128, "width of the model"),
  dropout: { value: 0, least: 0, whole: false, help: "part of the activations dropped in training" },
  "learning-rate": { value: 1e-3, least: 0, whole: false, help: "after warm-up; falls to a tenth" },
  "eval-interval": count(250, "steps between validations"),
  "eval-batches": count(10, "batches in a validation"),
  sample: count(500, "characters to write at the end", 0),
  temperature: { value: 0.8, least: 0, whole: false, help: "0 always takes the likeliest character" },
  "top-k": { least: 1, whole: true, help: "choose among this many likeliest characters (all)" },
};

/** What `--help` prints. */
export function helpText(): string {
  const row = (name: string, help: string) => `  --${name.padEnd(15)} ${help}`;
  return [
    "Trains a small GPT to continue a text character by character, and prints what it writes.",
    "",
    "  deno task demo [flags]",
    "",
    ...Object.entries(TEXTS).map(([name, help]) => row(name, help)),
    ...Object.entries(NUMBERS).map(([name, { value, help }]) =>
      row(name, value === undefined ? help : `${help} (${value})`)
    ),
    row("help", "this text"),
    "",
    "Ctrl-C stops after the current step and keeps the weights.",
  ].join("\n");
}

/** Reads the command line. Throws an `Error` that names the flag which makes no sense. */
export function parseFlags(args: string[]): Flags {
  const parsed: Record<string, unknown> & { _: unknown[] } = parseArgs(args, {
    boolean: ["help"],
    string: [...Object.keys(TEXTS), ...Object.keys(NUMBERS)],
    alias: { h: "help" },
    unknown: (flag: string) => {
      throw new Error(`Unknown flag ${flag}: --help lists those there are`);
    },
  });
  const text = (name: string) => parsed[name] as string | undefined;
  return {
    help: Boolean(parsed.help),
    data: text("data"),
    backend: text("backend"),
    out: text("out"),
    from: text("from"),
    prompt: text("prompt"),
    ...Object.fromEntries(
      Object.entries(NUMBERS).map(([name, flag]) => [camelCase(name), parseNumber(name, text(name), flag)]),
    ) as unknown as Omit<Flags, "help">,
  };
}

function camelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

function parseNumber(name: string, text: string | undefined, { value, least, whole }: NumberFlag): number | undefined {
  if (text === undefined) return value;
  const number = Number(text);
  if (text.trim() === "" || !(number >= least) || (whole && !Number.isSafeInteger(number))) {
    const kind = whole ? "a whole number" : "a number";
    throw new Error(`Cannot use --${name} ${JSON.stringify(text)}: it takes ${kind} of at least ${least}`);
  }
  return number;
}
