/**
 * Command lines, declared once: what can be given, what `--help` says of it, and which values make sense.
 *
 * Names are `camelCase` here and `--kebab-case` on the command line.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";

/** One flag: how its text is read, and what is known of it without any. */
export interface Flag<T> {
  /** What it does; a placeholder for the value comes first, if it takes text: `FOLDER  where results go`. */
  readonly help: string;
  /** What it is when it is not given. */
  readonly value: T;
  /** Whether it stands alone, without a value. */
  readonly alone?: boolean;
  /** Whether a run that is resumed may be given another value. */
  readonly anytime?: boolean;
  /** Reads a value; throws with the kind of value that makes sense, such as `a whole number of at least 1`. */
  readonly read: (text: string) => T;
}

// deno-lint-ignore no-explicit-any -- flags of every type, which `FlagsOf` tells apart
export type Flags = Readonly<Record<string, Flag<any>>>;

/** What a command line holds: the values by name. */
export type FlagsOf<F extends Flags> = { readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

/** A program as its user sees it. */
export interface Command<F extends Flags> {
  /** What it does, in a sentence. */
  readonly about: string;
  /** How it is called. */
  readonly usage: string;
  /** In the order in which `--help` lists them. */
  readonly flags: F;
  /** What else there is to know. */
  readonly notes?: string;
}

/** Bounds of a number, both allowed themselves. */
export interface Limits {
  readonly least?: number;
  readonly most?: number;
}

/** A whole number, of at least 1 by default. Without a value it may be left out. */
export function whole(value: number, help: string, limits?: Limits): Flag<number>;
export function whole(value: undefined, help: string, limits?: Limits): Flag<number | undefined>;
export function whole(value: number | undefined, help: string, limits: Limits = {}): Flag<number | undefined> {
  return numeric(value, help, { least: 1, ...limits, kind: "a whole number", accepts: Number.isSafeInteger });
}

/** A number, of at least 0 by default. Without a value it may be left out. */
export function number(value: number, help: string, limits?: Limits): Flag<number>;
export function number(value: undefined, help: string, limits?: Limits): Flag<number | undefined>;
export function number(value: number | undefined, help: string, limits: Limits = {}): Flag<number | undefined> {
  return numeric(value, help, { least: 0, ...limits, kind: "a number", accepts: Number.isFinite });
}

interface Numeric extends Limits {
  readonly kind: string;
  readonly accepts: (value: number) => boolean;
}

function numeric(value: number | undefined, help: string, { least, most, kind, accepts }: Numeric) {
  const range = most === undefined ? `${kind} of at least ${least}` : `${kind} from ${least} to ${most}`;
  return {
    help: value === undefined ? help : `${help} (${value})`,
    value,
    read(text: string) {
      const given = text.trim() === "" ? NaN : Number(text);
      if (!accepts(given) || given < least! || given > (most ?? Infinity)) throw new Error(range);
      return given;
    },
  };
}

/** Text, such as a path. Without a value it may be left out. */
export function text(help: string): Flag<string | undefined>;
export function text(help: string, value: string): Flag<string>;
export function text(help: string, value?: string): Flag<string | undefined> {
  return { help, value, read: (given) => given };
}

/** One of a few words; the first is the default. */
export function choice<const T extends string>(values: readonly T[], help: string): Flag<T> {
  return {
    help: `${values.join("|")}  ${help} (${values[0]})`,
    value: values[0],
    read(given) {
      const known = values.find((value) => value === given);
      if (known === undefined) throw new Error(`one of ${values.join(", ")}`);
      return known;
    },
  };
}

/** Off, unless it is given. */
export function toggle(help: string): Flag<boolean> {
  return { help, value: false, alone: true, read: () => true };
}

/** A flag that training does not depend on: a run that is resumed may be given another value. */
export function anytime<T>(flag: Flag<T>): Flag<T> {
  return { ...flag, anytime: true };
}

/** The flags that every example has: `name` is its folder in `runs/`. */
export function commonFlags(name: string, seed = 1337): {
  readonly backend: Flag<string | undefined>;
  readonly out: Flag<string | undefined>;
  readonly resume: Flag<string | undefined>;
  readonly seed: Flag<number>;
} {
  return {
    backend: anytime(text("NAME  wasm, webgpu or cpu (wasm, or cpu where that does not work)")),
    out: text(`FOLDER  where results go (runs/${name})`),
    resume: anytime(text("FOLDER  go on with the run that was stopped there; it keeps its flags")),
    seed: whole(seed, "the same seed gives the same results", { least: 0 }),
  };
}

const HELP = toggle("this text");

/** What `--help` prints. */
export function helpText<F extends Flags>({ about, usage, flags, notes }: Command<F>): string {
  const rows = Object.entries({ ...flags, help: HELP }).map(([name, { help }]) => [`--${kebab(name)}`, help]);
  const width = Math.max(...rows.map(([name]) => name.length));
  return [
    about,
    "",
    `  ${usage}`,
    "",
    ...rows.map(([name, help]) => `  ${name.padEnd(width)}  ${help}`),
    ...(notes === undefined ? [] : ["", notes]),
  ].join("\n");
}

/** A run that is to go on. */
export interface Begun {
  readonly folder: string;
  /** What it was given, by name. */
  readonly flags: Readonly<Record<string, unknown>>;
}

/**
 * Reads a command line; what it leaves open is as it was in the run that has `begun`, or the default. Throws an `Error`
 * that names the flag which makes no sense, or differs from that run's.
 */
export function parseFlags<F extends Flags>(
  args: readonly string[],
  { flags }: Command<F>,
  begun?: Begun,
): FlagsOf<F> & { readonly help: boolean } {
  const all: Flags = { ...flags, help: HELP };
  const names = (alone: boolean) => Object.keys(all).filter((name) => Boolean(all[name].alone) === alone).map(kebab);
  const parsed: Record<string, unknown> = parseArgs([...args], {
    boolean: names(true),
    string: names(false),
    alias: { h: "help" },
    unknown: (flag: string) => {
      throw new Error(`Unknown flag ${flag}: --help lists those there are`);
    },
  });
  const read = (name: string, flag: Flag<unknown>) => {
    const given = parsed[kebab(name)], open = begun?.flags[name] ?? flag.value;
    if (given === undefined || given === false) return open;
    const value = valueOf(name, flag, String(given));
    if (begun && !flag.anytime && value !== open) {
      const own = open === undefined ? "without it" : `with ${JSON.stringify(open)}`;
      throw new Error(`Cannot resume ${begun.folder} with --${kebab(name)} ${given}: it was begun ${own}`);
    }
    return value;
  };
  const values = Object.entries(all).map(([name, flag]) => [name, read(name, flag)]);
  return Object.fromEntries(values) as FlagsOf<F> & { readonly help: boolean };
}

function valueOf(name: string, flag: Flag<unknown>, given: string): unknown {
  try {
    return flag.read(given);
  } catch (error) {
    const kind = (error as Error).message;
    throw new Error(`Cannot use --${kebab(name)} ${JSON.stringify(given)}: it takes ${kind}`);
  }
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
