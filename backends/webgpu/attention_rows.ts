/**
 * How the kernels of attention read the rows of their operands.
 *
 * @module
 */
import type { Scene } from "./attention_scene.ts";
import type { Shader } from "./shader.ts";

const lanes = [0, 1, 2, 3];

/** Reads rows of the operands, in the matrix that the shader calls `matrix`. */
export class RowReader {
  readonly #bases = new Map<string, string>();
  readonly #functions = new Map<string, string>();
  readonly #fours = new Map<string, string>();

  /** Names the first element of each operand's matrix. */
  constructor(readonly shader: Shader, readonly scene: Scene) {
    const { rows, batch } = scene;
    const coordinates: string[] = [];
    let rest = "matrix";
    for (let axis = batch.length - 1; axis >= 0; axis--) {
      const n = shader.num(batch[axis]);
      coordinates[axis] = shader.let(`${rest} % ${n}`, "c");
      rest = shader.let(`${rest} / ${n}`, "q");
    }
    for (const [name, { batch, offset }] of Object.entries(rows)) {
      const terms = coordinates.map((c, axis) => `${c} * ${shader.num(batch[axis])}`);
      this.#bases.set(name, shader.let([...terms, shader.num(offset)].join(" + "), "base"));
    }
  }

  /** First element of a row. */
  at(name: string, index: string): string {
    return `${this.#bases.get(name)} + ${index} * ${this.shader.num(this.scene.rows[name].stride)}`;
  }

  /** The only number of a row. */
  number(name: string, index: string): string {
    const { buffer, dtype } = this.scene.rows[name];
    return this.shader.load(buffer, dtype, this.at(name, index), 1);
  }

  /** Four channels of the row that starts at `start`, from channel `d` on; zeros behind the last. */
  four(name: string, start: string, d: string): string {
    return `${this.#function(name)}(${start}, ${d})`;
  }

  /** All channels of a row in fours, read where the row is first asked for: `index` must be a name. */
  whole(name: string, index: string): string[] {
    const { shader, scene: { rows: { [name]: { channels } } } } = this;
    return Array.from({ length: Math.ceil(channels / 4) }, (_, e) => {
      const key = `${name} ${index} ${e}`;
      let known = this.#fours.get(key);
      if (!known) {
        if (e === 0) this.#fours.set(`${name} ${index}`, shader.let(this.at(name, index), "at"));
        known = shader.let(this.four(name, this.#fours.get(`${name} ${index}`)!, `${4 * e}u`), "x");
        this.#fours.set(key, known);
      }
      return known;
    });
  }

  /** The function that reads four channels. */
  #function(name: string): string {
    const known = this.#functions.get(name);
    if (known) return known;
    const { shader } = this;
    const { buffer, dtype, channels, step, aligned, image } = this.scene.rows[name];
    const items = lanes.map((lane) => {
      const at = `start + (d + ${lane}u) * ${shader.num(step)}`;
      if (channels % 4 === 0) return shader.load(buffer, dtype, at, 1);
      const inside = `d + ${lane}u < ${shader.num(channels)}`;
      return `select(0.0, ${shader.load(buffer, dtype, `select(start, ${at}, ${inside})`, 1)}, ${inside})`;
    });
    const value = !aligned
      ? `vec4f(${items.join(", ")})`
      : image
      ? shader.fetch(buffer, "start + d", 4)
      : shader.load(buffer, dtype, "start + d", 4);
    shader.globals.push(`fn ${name}_at(start: u32, d: u32) -> vec4f { return ${value}; }`);
    this.#functions.set(name, `${name}_at`);
    return `${name}_at`;
  }
}
