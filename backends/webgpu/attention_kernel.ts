/**
 * The kernel of attention and of its gradients; see `attention.ts` for what it computes.
 *
 * @module
 */
import { BackendError } from "../../core/errors.ts";
import type { OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { Scene } from "./attention_scene.ts";
import { type Context, type Kernel, MAX_TURNS, Shader, spread } from "./shader.ts";

const OWN = 4;
const BLOCK = 8;
/** Fours of sums that an invocation keeps for each of its rows. */
const MOST_FOURS = 16;

type Weights = "softmax" | "probability" | "gradient";

/** One result: which side owns rows, how they are weighted, and what is summed. */
export interface Role {
  readonly own: "query" | "key";
  readonly weights: Weights;
  /** Name of the operand that is summed. */
  readonly vectors: "v" | "k" | "q" | "dy";
  readonly output: number;
}

const lanes = Array.from({ length: OWN }, (_, r) => r);
const block = Array.from({ length: BLOCK }, (_, j) => j);

/** One kernel while it is written. */
export class AttentionKernel {
  readonly shader: Shader;
  readonly workgroup: number;
  readonly fours: number;
  readonly #bases = new Map<string, string>();
  readonly #readers = new Map<string, string>();

  constructor(readonly step: OpStep, readonly context: Context, readonly scene: Scene, readonly role: Role) {
    this.shader = new Shader(
      `${step.name} ${["y", "dq", "dk", "dv"][role.output + (step.op === "attention" ? 0 : 1)]}`,
      context,
    );
    this.workgroup = context.software ? 8 : 64;
    this.fours = Math.min(MOST_FOURS, Math.max(1, Math.ceil(scene.rows[role.vectors].channels / 4)));
  }

  private get byQuery(): boolean {
    return this.role.own === "query";
  }

  /** Numbers of rows on both sides. */
  private get counts(): { own: number; other: number } {
    const { queries, keys } = this.scene;
    return this.byQuery ? { own: queries, other: keys } : { own: keys, other: queries };
  }

  write(): Kernel {
    const { shader, scene, role, fours } = this;
    const { own, other } = this.counts;
    const vectors = scene.rows[role.vectors];
    const grid = [Math.max(1, Math.ceil(vectors.channels / 4 / fours)), size(scene.batch), Math.ceil(own / OWN)];
    const { workgroup } = this;
    shader.add(`let invocation = (group.y * groups.x + group.x) * ${workgroup}u + local.x;`);
    const [tiles, batches] = [shader.let(shader.num(grid[2]), "n"), shader.let(shader.num(grid[1]), "n")];
    shader.add(`let chunk = invocation / (${tiles} * ${batches});`, `if (chunk >= ${shader.num(grid[0])}) { return; }`);
    shader.add(`let matrix = invocation / ${tiles} % ${batches};`, `let own = invocation % ${tiles} * ${OWN}u;`);
    shader.add(`let first = chunk * ${fours * 4}u;`);
    shader.add(`let own_count = ${shader.num(own)};`, `let other_count = ${shader.num(other)};`);
    this.nameBases();
    this.declareSums();
    this.range();
    const unrolled = this.mustUnroll();
    shader.add(`for (var other = begin; other < end; other += ${BLOCK}u) {`);
    this.scores(unrolled);
    if (role.weights === "softmax") shader.add("var top = peak;");
    this.accumulate();
    shader.add("}");
    this.store();
    return shader.finish(spread(Math.ceil(grid.reduce((a, b) => a * b) / workgroup)), [workgroup, 1]);
  }

  /** Whether the loops over channels must be written out, so that no invocation takes too many turns. */
  private mustUnroll(): boolean {
    const { scene: { rows }, step, context, counts: { other } } = this;
    const blocks = Math.ceil(other / BLOCK);
    const least = 1 + (this.role.weights === "softmax" ? 2 * BLOCK : BLOCK);
    const turns = [rows.q, ...this.role.weights === "gradient" ? [rows.v] : []]
      .reduce((sum, { channels }) => sum + Math.ceil(channels / 4), least);
    if (!context.software || blocks * turns <= MAX_TURNS) return false;
    if (blocks * least > MAX_TURNS) {
      throw new BackendError(
        `Cannot run ${step.name} on webgpu: ${other} rows are more than this adapter's loops allow`,
      );
    }
    return true;
  }

  /** The first element of each operand's matrix. */
  private nameBases(): void {
    const { shader, scene } = this;
    const coordinates: string[] = [];
    let rest = "matrix";
    for (let axis = scene.batch.length - 1; axis >= 0; axis--) {
      const n = shader.num(scene.batch[axis]);
      coordinates[axis] = shader.let(`${rest} % ${n}`, "c");
      rest = shader.let(`${rest} / ${n}`, "q");
    }
    for (const [name, { batch, offset }] of Object.entries(scene.rows)) {
      const terms = coordinates.map((c, axis) => `${c} * ${shader.num(batch[axis])}`);
      this.#bases.set(name, shader.let([...terms, shader.num(offset)].join(" + "), "base"));
    }
  }

  /** First element of a row. */
  private row(name: string, index: string): string {
    return `${this.#bases.get(name)} + ${index} * ${this.shader.num(this.scene.rows[name].stride)}`;
  }

  /** Declares the function that reads four channels of a row: `name(start of the row, first channel)`. */
  private reader(name: string): string {
    const known = this.#readers.get(name);
    if (known) return known;
    const { shader } = this;
    const { buffer, dtype, channels, offset, step, stride, batch } = this.scene.rows[name];
    const whole = channels % 4 === 0;
    const aligned = whole && step === 1 && [offset, stride, ...batch].every((n) => n % 4 === 0) &&
      shader.aligned(buffer, dtype);
    const items = lanes.map((lane) => {
      const at = `start + (d + ${lane}u) * ${shader.num(step)}`;
      if (whole) return shader.load(buffer, dtype, at, 1);
      return `select(0.0, ${
        shader.load(buffer, dtype, `select(start, ${at}, d + ${lane}u < ${shader.num(channels)})`, 1)
      }, ` +
        `d + ${lane}u < ${shader.num(channels)})`;
    });
    const value = aligned ? shader.load(buffer, dtype, "start + d", 4) : `vec4f(${items.join(", ")})`;
    shader.globals.push(`fn ${name}_at(start: u32, d: u32) -> vec4f { return ${value}; }`);
    this.#readers.set(name, `${name}_at`);
    return `${name}_at`;
  }

  /** A number of each of the four owned rows, or of one row of the other side. */
  private statistic(name: string, index: string): string {
    const { buffer, dtype } = this.scene.rows[name];
    return this.shader.load(buffer, dtype, this.row(name, index), 1);
  }

  private declareSums(): void {
    const { shader, role, fours } = this;
    for (const r of lanes) {
      shader.add(`let own${r} = min(own + ${r}u, own_count - 1u);`);
      for (let e = 0; e < fours; e++) shader.add(`var sum${r}_${e} = vec4f(0.0);`);
    }
    // each invocation's own column: private arrays with computed indices take drivers long to compile
    const count = BLOCK * this.workgroup;
    shader.globals.push(`var<workgroup> scores: array<vec4f, ${count}>;`);
    if (role.weights === "gradient") shader.globals.push(`var<workgroup> slopes: array<vec4f, ${count}>;`);
    if (role.weights === "softmax") {
      const lowest = shader.library.use("special", 1);
      shader.add(`var peak = vec4f(${lowest}(0xff800000u));`, "var total = vec4f(0.0);");
    } else if (this.byQuery) {
      for (const name of ["logSum", "delta"]) {
        if (name === "delta" && role.weights !== "gradient") continue;
        shader.add(`let ${name}_own = vec4f(${lanes.map((r) => this.statistic(name, `own${r}`)).join(", ")});`);
      }
    }
  }

  /** Rows of the other side that any owned row may see. */
  private range(): void {
    const { shader, scene: { attrs, queries, keys } } = this;
    const [T, S] = [shader.num(queries), shader.num(keys)];
    if (!attrs.causal) {
      shader.add("let begin = 0u;", "let end = other_count;");
    } else if (this.byQuery) {
      shader.add("let begin = 0u;", `let edge = own + ${OWN}u + ${S};`);
      shader.add(`let end = select(0u, min(${S}, edge - ${T}), edge > ${T});`);
    } else {
      shader.add(`let begin = select(0u, own + ${T} - ${S}, own + ${T} > ${S});`, "let end = other_count;");
    }
  }

  /** Products of the owned rows with those of the block: `score` for q·k, and `slope` for dy·v. */
  private scores(unrolled: boolean): void {
    const { shader, role } = this;
    for (const j of block) shader.add(`let row${j} = min(other + ${j}u, other_count - 1u);`);
    this.products("score", this.byQuery ? ["q", "k"] : ["k", "q"], unrolled);
    if (role.weights === "gradient") this.products("slope", this.byQuery ? ["dy", "v"] : ["v", "dy"], unrolled);
    for (const j of block) shader.add(`scores[${j * this.workgroup}u + local.x] = score${j};`);
    if (role.weights === "gradient") {
      for (const j of block) shader.add(`slopes[${j * this.workgroup}u + local.x] = slope${j};`);
    }
  }

  private products(result: string, [own, other]: readonly string[], unrolled: boolean): void {
    const { shader, scene: { rows } } = this;
    const owns = lanes.map((r) => shader.let(this.row(own, `own${r}`), "at"));
    const others = block.map((j) => shader.let(this.row(other, `row${j}`), "at"));
    for (const j of block) shader.add(`var ${result}${j} = vec4f(0.0);`);
    const [a, b] = [this.reader(own), this.reader(other)];
    const { channels } = rows[own];
    const turn = (d: string) => {
      const as = owns.map((at) => shader.let(`${a}(${at}, ${d})`, "x"));
      for (const j of block) {
        const y = shader.let(`${b}(${others[j]}, ${d})`, "y");
        shader.add(`${result}${j} += vec4f(${as.map((x) => `dot(${x}, ${y})`).join(", ")});`);
      }
    };
    if (unrolled) {
      for (let d = 0; d < channels; d += 4) turn(`${d}u`);
    } else {
      shader.add(`for (var d = 0u; d < ${shader.num(channels)}; d += 4u) {`);
      turn("d");
      shader.add("}");
    }
  }

  /** Which of the four owned rows see row `other + j`. */
  private visible(): string {
    const { shader, scene: { attrs, queries, keys } } = this;
    const terms = ["vec4<bool>(other + j < other_count)"];
    const [T, S] = [shader.num(queries), shader.num(keys)];
    const owned = "(vec4u(own) + vec4u(0u, 1u, 2u, 3u))", other = "vec4u(other + j)";
    const [query, key] = this.byQuery ? [owned, other] : [other, owned];
    if (attrs.causal) terms.push(`(${key} + ${T} <= ${query} + ${S})`);
    if (attrs.masked === "bool") terms.push(`vec4<bool>(${this.mask()})`);
    return terms.join(" & ");
  }

  /** The mask between the four owned rows and row `row`. */
  private mask(): string {
    const { shader, scene: { rows: { mask } } } = this;
    return lanes.map((r) => {
      const [query, key] = this.byQuery ? [`own${r}`, "row"] : ["row", `own${r}`];
      const at = `${this.row("mask", query)} + ${key} * ${shader.num(mask.step)}`;
      return shader.load(mask.buffer, mask.dtype, at, 1);
    }).join(", ");
  }

  /** Starts a loop over the block and names what is seen of its row `j`, and the score with scale and mask. */
  private eachOfBlock(): void {
    const { shader, scene: { attrs } } = this;
    shader.add(`for (var j = 0u; j < ${BLOCK}u; j++) {`, "let row = min(other + j, other_count - 1u);");
    shader.add(`let seen = ${this.visible()};`);
    const added = attrs.masked === "add" ? ` + vec4f(${this.mask()})` : "";
    shader.add(`let place = j * ${this.workgroup}u + local.x;`);
    shader.add(`let score = scores[place] * ${shader.constant(attrs.scale, "f32")}${added};`);
  }

  /** Turns scores into weights and adds the block's vectors, weighted. */
  private accumulate(): void {
    const { shader, role } = this;
    const exp = shader.library.use("exp", 4), special = shader.library.use("special", 1);
    this.eachOfBlock();
    if (role.weights === "softmax") {
      shader.add(
        `scores[place] = select(vec4f(${special}(0xff800000u)), score, seen);`,
        "top = max(top, scores[place]);",
        "}",
      );
      // a row that has seen nothing yet is measured from 0, so that its weights are 0
      shader.add("let level = select(top, vec4f(0.0), bitcast<vec4u>(top) == vec4u(0xff800000u));");
      shader.add(`let shrink = ${exp}(peak - level);`, "peak = top;", "total *= shrink;");
      for (const r of lanes) {
        for (let e = 0; e < this.fours; e++) shader.add(`sum${r}_${e} *= shrink[${r}];`);
      }
      shader.add(`for (var j = 0u; j < ${BLOCK}u; j++) {`, "let row = min(other + j, other_count - 1u);");
      shader.add(`let weight = ${exp}(scores[j * ${this.workgroup}u + local.x] - level);`, "total += weight;");
    } else {
      const of = (name: string) => this.byQuery ? `${name}_own` : `vec4f(${this.statistic(name, "row")})`;
      shader.add(`let p = ${exp}(score - ${of("logSum")});`);
      const weight = role.weights === "gradient" ? `p * (slopes[place] - ${of("delta")})` : "p";
      shader.add(`let weight = select(vec4f(0.0), ${weight}, seen);`);
    }
    this.addVector();
    shader.add("}");
  }

  /** Adds the vector of row `row` to the sums of the owned rows. */
  private addVector(): void {
    const { shader, role: { vectors }, fours } = this;
    const read = this.reader(vectors);
    const at = shader.let(this.row(vectors, "row"), "at");
    for (let e = 0; e < fours; e++) {
      const x = shader.let(`${read}(${at}, first + ${4 * e}u)`, "x");
      for (const r of lanes) shader.add(`sum${r}_${e} = fma(vec4f(weight[${r}]), ${x}, sum${r}_${e});`);
    }
  }

  private store(): void {
    const { shader, step, scene, role, fours } = this;
    const { channels } = scene.rows[role.vectors];
    const { dtype } = step.outputSpecs[role.output];
    const target = this.context.buffer(step.outputs[role.output]);
    const four = channels % 4 === 0 && shader.aligned(target, dtype);
    if (role.weights === "softmax") {
      shader.add("let divisor = select(total, vec4f(1.0), total == vec4f(0.0));");
      shader.add("let level = select(peak, vec4f(0.0), bitcast<vec4u>(peak) == vec4u(0xff800000u));");
      shader.add(`let log_sum = level + ${shader.library.use("log", 4)}(divisor);`);
    }
    const scaled = role.weights === "gradient" ? ` * ${shader.constant(scene.attrs.scale, "f32")}` : "";
    for (const r of lanes) {
      const factor = role.weights === "softmax" ? ` / divisor[${r}]` : scaled;
      shader.add(`if (own + ${r}u < own_count) {`);
      const start = shader.let(`(matrix * own_count + own + ${r}u) * ${shader.num(channels)} + first`, "at");
      for (let e = 0; e < fours; e++) {
        const value = shader.let(`sum${r}_${e}${factor}`);
        const d = `first + ${4 * e}u`;
        const from = `${start} + ${4 * e}u`;
        if (four) {
          shader.add(`if (${d} < ${shader.num(channels)}) { ${shader.store(target, dtype, from, value, 4)} }`);
        } else {
          const put = shader.store(target, dtype, `${from} + lane`, `${value}[lane]`, 1);
          shader.add(`for (var lane = 0u; lane < 4u && ${d} + lane < ${shader.num(channels)}; lane++) { ${put} }`);
        }
      }
      shader.add("}");
    }
    if (role.weights !== "softmax") return;
    const statistics = this.context.buffer(step.outputs[1]);
    const put = shader.store(statistics, step.outputSpecs[1].dtype, "matrix * own_count + own + r", "log_sum[r]", 1);
    shader.add(`for (var r = 0u; chunk == 0u && r < min(${OWN}u, own_count - own); r++) { ${put} }`);
  }
}
