/**
 * What the example shows while it works: a live line on a terminal, plain lines anywhere else.
 *
 * @module
 */

/** Where text goes. */
export interface Output {
  write(text: string): void;
  /** Whether lines can be rewritten; then there are colors too, unless `NO_COLOR` is set. */
  readonly live: boolean;
}

/** Standard output. */
export const terminal: Output = {
  write(text) {
    const bytes = new TextEncoder().encode(text);
    for (let written = 0; written < bytes.length;) written += Deno.stdout.writeSync(bytes.subarray(written));
  },
  live: Deno.stdout.isTerminal(),
};

/** How far training has come. */
export interface Progress {
  readonly step: number;
  readonly steps: number;
  /** In nats a character; undefined until there is one. */
  readonly loss?: number;
  readonly validationLoss?: number;
  /** Whether no more steps follow. */
  readonly ended?: boolean;
}

const CLEAR_LINE = "\r\x1b[2K";

/** Headings, rows of figures, and one line that is rewritten in place. */
export class Screen {
  readonly #output: Output;
  #begin = performance.now();
  #shown = -Infinity;

  constructor(output: Output) {
    this.#output = output;
  }

  get live(): boolean {
    return this.#output.live;
  }

  /** Text as it is. */
  write(text: string): void {
    this.#output.write(text);
  }

  /** A line that stays. */
  print(line = ""): void {
    this.#output.write(`${this.live ? CLEAR_LINE : ""}${line}\n`);
  }

  /** A line that names a fact. */
  fact(name: string, value: string): void {
    this.print(`  ${this.dim(name.padEnd(9))} ${value}`);
  }

  bold(text: string): string {
    return this.#style(1, text);
  }

  dim(text: string): string {
    return this.#style(2, text);
  }

  red(text: string): string {
    return this.#style(31, text);
  }

  #style(code: number, text: string): string {
    return this.live && !Deno.noColor ? `\x1b[${code}m${text}\x1b[0m` : text;
  }

  /** A line of figures that stays. The one of step 0 starts the clock. */
  row(progress: Progress): void {
    if (progress.step === 0) this.#begin = performance.now();
    this.print(`  ${this.#figures(progress)}`);
  }

  /** The live line; at most ten times a second, and nowhere but on a terminal. */
  update(progress: Progress): void {
    const now = performance.now();
    if (!this.live || now - this.#shown < 100) return;
    this.#shown = now;
    const figures = this.#figures(progress), width = this.#width();
    const line = figures.length + 25 < width ? `${this.#bar(progress)} ${figures}` : figures.slice(0, width - 3);
    this.#output.write(`${CLEAR_LINE}  ${line}`);
  }

  #width(): number {
    try {
      return Deno.consoleSize().columns || 80;
    } catch {
      return 80; // no terminal, or one that does not say
    }
  }

  #bar({ step, steps }: Progress): string {
    const length = 20, done = Math.floor((length * step) / steps);
    return "━".repeat(done) + this.dim("━".repeat(length - done));
  }

  #figures({ step, steps, loss, validationLoss, ended }: Progress): string {
    const seconds = (performance.now() - this.#begin) / 1000, rate = step / seconds;
    return [
      `step ${String(step).padStart(String(steps).length)}/${steps}`,
      ...(loss === undefined ? [] : [`loss ${loss.toFixed(4)}`]),
      ...(validationLoss === undefined ? [] : [`validation ${validationLoss.toFixed(4)}`]),
      ...(step === 0 ? [] : [`${rate.toFixed(rate < 10 ? 2 : 1)} steps/s`]),
      ...(step === 0 || ended ? [] : [`${duration((steps - step) / rate)} left`]),
    ].join("  ");
  }
}

/** Seconds as `1h 2m`, `3m 4s` or `5s`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}h ${m}m` : m > 0 ? `${m}m ${s}s` : `${s}s`;
}

/** A count with its thousands apart: `1,190,317`. */
export function thousands(count: number): string {
  return count.toLocaleString("en-US");
}
