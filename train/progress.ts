/**
 * What a training shows while it runs: a line that is rewritten on a terminal, plain rows anywhere else.
 *
 * ```text
 *  ━━━━━─────────────── step  250/1000  loss 2.1034  14.2 steps/s  53s left
 * ```
 *
 * Nothing here asks for Deno before it is used: in a browser the console takes the rows.
 *
 * @module
 */

/** Where text goes. */
export interface Output {
  /** Takes text as it is; lines end in `\n`. */
  write(text: string): void;
  /** Whether a line can be rewritten, as on a terminal. */
  readonly live: boolean;
  /** Whether escape codes for colors are welcome; where lines can be rewritten, by default. */
  readonly colors?: boolean;
  /** Characters in a line; 80 by default. */
  readonly columns?: () => number;
}

/**
 * Standard output; the console where there is none. Colors are left out where `NO_COLOR` is set.
 *
 * @see https://no-color.org
 * @example
 * ```ts
 * import { standardOutput } from "@tenon/ml/train/progress";
 *
 * standardOutput().write("It begins.\n");
 * ```
 */
export function standardOutput(): Output {
  if (typeof Deno === "undefined") return consoleOutput();
  const live = Deno.stdout.isTerminal();
  return {
    write(text) {
      const bytes = new TextEncoder().encode(text);
      for (let written = 0; written < bytes.length;) written += Deno.stdout.writeSync(bytes.subarray(written));
    },
    live,
    colors: live && !Deno.noColor,
    columns: () => live ? Deno.consoleSize().columns : 80,
  };
}

/** The console, which takes whole lines alone. */
function consoleOutput(): Output {
  let line = "";
  return {
    write(text) {
      const lines = (line + text).split("\n");
      line = lines.pop()!;
      for (const whole of lines) console.log(whole);
    },
    live: false,
  };
}

/** Figures by name: numbers are shown with four decimals, text as it is, and what is undefined is left out. */
export type Figures = Readonly<Record<string, number | string | undefined>>;

/** What progress is counted in. */
export interface ProgressOptions {
  /** How many units there are. */
  readonly total: number;
  /** What one is called; `step` by default. */
  readonly unit?: string;
  /** How many were done before, in a training that is resumed; 0 by default. */
  readonly start?: number;
  /** Once it is aborted, nothing is left to do. */
  readonly interrupt?: AbortSignal;
}

/** Shows how far something has come. The clock starts when it is made, and anew at a row of its start. */
export interface Progress {
  /** Rewrites the live line; at most ten times a second, and nowhere but on a terminal. */
  update(done: number, figures?: Figures): void;
  /** Prints a line that stays. */
  row(done: number, figures?: Figures): void;
}

/** Headings, facts, rows of figures, and one line that is rewritten in place. */
export interface Screen {
  /** Whether lines can be rewritten. */
  readonly live: boolean;
  /** Writes text as it is. */
  write(text: string): void;
  /** Prints a line that stays; an empty one by default. */
  print(line?: string): void;
  /** Prints a line that names a fact. */
  fact(name: string, value: string): void;
  /** The text in bold, where there are colors. */
  bold(text: string): string;
  /** The text in a weaker color, where there are colors. */
  dim(text: string): string;
  /** The text in red, where there are colors. */
  red(text: string): string;
  /** Begins to show how far something has come. */
  progress(options: ProgressOptions): Progress;
}

/** Back to the line's beginning, and all of it cleared. */
const CLEAR_LINE = "\r\x1b[2K";

/** Length of the bar of a live line. */
const BAR = 20;

/** Milliseconds between two states of the live line. */
const PAUSE = 100;

/**
 * A screen on `output`, which is standard output by default.
 *
 * @example
 * ```ts
 * import { createScreen } from "@tenon/ml/train/progress";
 * import { assertEquals } from "@std/assert";
 *
 * let text = "";
 * const screen = createScreen({ write: (part) => text += part, live: false });
 * screen.fact("backend", "wasm");
 * const progress = screen.progress({ total: 10 });
 * progress.row(0, { loss: 2.5, accuracy: "9.80 %" });
 * assertEquals(text, "  backend   wasm\n  step  0/10  loss 2.5000  accuracy 9.80 %\n");
 * ```
 */
export function createScreen(output: Output = standardOutput()): Screen {
  const { live, colors = live } = output;
  const style = (code: number) => (text: string) => colors ? `\x1b[${code}m${text}\x1b[0m` : text;
  const dim = style(2);
  const print = (line = "") => output.write(`${live ? CLEAR_LINE : ""}${line}\n`);
  return {
    live,
    write: (text) => output.write(text),
    print,
    fact: (name, value) => print(`  ${dim(name.padEnd(9))} ${value}`),
    bold: style(1),
    dim,
    red: style(31),
    progress(options) {
      const { total, start = 0 } = options;
      let begin = performance.now(), shown = -Infinity;
      const seconds = () => (performance.now() - begin) / 1000;
      return {
        update(done, figures = {}) {
          const now = performance.now();
          if (!live || now - shown < PAUSE) return;
          shown = now;
          const line = describe(done, figures, seconds(), options), width = output.columns?.() || 80;
          const filled = Math.floor(BAR * Math.min(1, done / total));
          const bar = "━".repeat(filled) + dim("─".repeat(BAR - filled));
          const fits = line.length + BAR + 5 < width;
          output.write(`${CLEAR_LINE}  ${fits ? `${bar} ${line}` : line.slice(0, width - 3)}`);
        },
        row(done, figures = {}) {
          if (done === start) begin = performance.now();
          print(`  ${describe(done, figures, seconds(), options)}`);
        },
      };
    },
  };
}

/** All that is known of a progress, in one line. */
function describe(done: number, figures: Figures, seconds: number, options: ProgressOptions): string {
  const { total, unit = "step", start = 0, interrupt } = options;
  const rate = (done - start) / seconds; // units a second
  const shown = Object.entries(figures).filter(([, value]) => value !== undefined);
  return [
    `${unit} ${String(done).padStart(String(total).length)}/${total}`,
    ...shown.map(([name, value]) => `${name} ${typeof value === "number" ? value.toFixed(4) : value}`),
    ...(done > start ? [speed(rate, unit)] : []),
    ...(done > start && done < total && !interrupt?.aborted ? [`${duration((total - done) / rate)} left`] : []),
  ].join("  ");
}

/** Three digits of how many units there are in a second or, where one takes longer, how many seconds it takes. */
function speed(rate: number, unit: string): string {
  return rate >= 1 ? `${rate.toFixed(rate < 10 ? 2 : 1)} ${unit}s/s` : `${(1 / rate).toPrecision(3)} s/${unit}`;
}

/**
 * Seconds as `1h 2m`, `3m 4s` or `5s`.
 *
 * @example
 * ```ts
 * import { duration } from "@tenon/ml/train/progress";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(duration(185), "3m 5s");
 * ```
 */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}h ${m}m` : m > 0 ? `${m}m ${s}s` : `${s}s`;
}

/**
 * A count with its thousands apart.
 *
 * @example
 * ```ts
 * import { thousands } from "@tenon/ml/train/progress";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(thousands(1190317), "1,190,317");
 * ```
 */
export function thousands(count: number): string {
  return count.toLocaleString("en-US");
}

/**
 * A part of 1 in hundredths.
 *
 * @param digits How many decimals; 2 by default.
 * @example
 * ```ts
 * import { percent } from "@tenon/ml/train/progress";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(percent(0.9921), "99.21 %");
 * ```
 */
export function percent(part: number, digits = 2): string {
  return `${(part * 100).toFixed(digits)} %`;
}
