/**
 * The kernel of attention and of its gradients; see `attention.ts` for what it computes.
 *
 * @module
 */
import { BackendError } from "../../core/errors.ts";
import type { OpStep } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import { foursOf, isWrittenOut, OWN, OWNED, type Role, type Sum, type Weights } from "./attention_role.ts";
import { RowReader } from "./attention_rows.ts";
import type { Scene } from "./attention_scene.ts";
import { storeStatistics, storeSum } from "./attention_store.ts";
import { type Context, type Kernel, MAX_TURNS, Shader, spread } from "./shader.ts";

/** A row of the block, as WGSL. */
interface BlockRow {
  /** Its number in the block, and among all rows. */
  readonly j: string;
  readonly row: string;
  /** Variables with the products of the owned rows with it. */
  readonly score: string;
  readonly slope: string;
}

/** One kernel while it is written. */
export class AttentionKernel {
  readonly shader: Shader;
  readonly workgroup: number;
  /** Whether blocks are written out; if not, a loop goes over a block's rows, whose products lie in workgroup memory. */
  readonly writtenOut: boolean;
  /** Numbers of the block's rows. */
  readonly block: readonly number[];
  #rows!: RowReader;

  constructor(readonly step: OpStep, readonly context: Context, readonly scene: Scene, readonly role: Role) {
    const results = role.sums.map(({ output }) => ["y", "dq", "dk", "dv"][output + (step.op === "attention" ? 0 : 1)]);
    this.shader = new Shader(`${step.name} ${results.join(" ")}`, context);
    this.workgroup = context.software ? 8 : 64;
    this.writtenOut = isWrittenOut(scene, context);
    this.block = Array.from({ length: this.writtenOut ? 2 : 8 }, (_, j) => j);
  }

  private get byQuery(): boolean {
    return this.role.own === "query";
  }

  /** Whether a sum is weighted so. */
  private has(weights: Weights): boolean {
    return this.role.sums.some((sum) => sum.weights === weights);
  }

  /** Numbers of rows on both sides. */
  private get counts(): { own: number; other: number } {
    const { queries, keys } = this.scene;
    return this.byQuery ? { own: queries, other: keys } : { own: keys, other: queries };
  }

  write(): Kernel {
    const { shader, scene, role: { sums }, block } = this;
    const { own, other } = this.counts;
    // where blocks are written out there is one chunk
    const fours = foursOf(scene, sums[0]), { channels } = scene.rows[sums[0].vectors];
    const grid = [Math.max(1, Math.ceil(channels / 4 / fours)), size(scene.batch), Math.ceil(own / OWN)];
    const { workgroup } = this;
    shader.add(`let invocation = (group.y * groups.x + group.x) * ${workgroup}u + local.x;`);
    const [tiles, batches] = [shader.let(shader.num(grid[2]), "n"), shader.let(shader.num(grid[1]), "n")];
    shader.add(`let chunk = invocation / (${tiles} * ${batches});`, `if (chunk >= ${shader.num(grid[0])}) { return; }`);
    shader.add(`let matrix = invocation / ${tiles} % ${batches};`, `let own = invocation % ${tiles} * ${OWN}u;`);
    shader.add(`let first = chunk * ${fours * 4}u;`);
    shader.add(`let own_count = ${shader.num(own)};`, `let other_count = ${shader.num(other)};`);
    this.#rows = new RowReader(shader, scene);
    this.declareSums();
    this.range();
    const unrolled = this.mustUnroll();
    shader.add(`for (var other = begin; other < end; other += ${block.length}u) {`);
    this.products(unrolled);
    this.accumulate();
    shader.add("}");
    sums.forEach((sum, number) => storeSum(this, sum, number));
    if (this.has("softmax")) storeStatistics(this);
    return shader.finish(spread(Math.ceil(grid.reduce((a, b) => a * b) / workgroup)), [workgroup, 1]);
  }

  /** Whether the loops over channels must be written out, so that no invocation takes too many turns. */
  private mustUnroll(): boolean {
    const { scene: { rows }, step, context, counts: { other }, block } = this;
    const blocks = Math.ceil(other / block.length);
    const least = this.writtenOut ? 1 : 1 + (this.has("softmax") ? 2 : 1) * block.length;
    const turns = [rows.q, ...this.has("gradient") ? [rows.v] : []]
      .reduce((sum, { channels }) => sum + Math.ceil(channels / 4), least);
    if (!context.software || blocks * turns <= MAX_TURNS) return false;
    if (blocks * least > MAX_TURNS) {
      throw new BackendError(
        `Cannot run ${step.name} on webgpu: ${other} rows are more than this adapter's loops allow`,
      );
    }
    return true;
  }

  private declareSums(): void {
    const { shader, role: { sums }, block } = this;
    for (const r of OWNED) {
      shader.add(`let own${r} = min(own + ${r}u, own_count - 1u);`);
      sums.forEach((sum, number) => {
        for (let e = 0; e < foursOf(this.scene, sum); e++) shader.add(`var sum${number}_${r}_${e} = vec4f(0.0);`);
      });
    }
    if (!this.writtenOut) {
      // each invocation's own column: private arrays with computed indices take drivers long to compile
      const count = block.length * this.workgroup;
      shader.globals.push(`var<workgroup> scores: array<vec4f, ${count}>;`);
      if (this.has("gradient")) shader.globals.push(`var<workgroup> slopes: array<vec4f, ${count}>;`);
    }
    if (this.has("softmax")) {
      const lowest = shader.library.use("special", 1);
      shader.add(`var peak = vec4f(${lowest}(0xff800000u));`, "var total = vec4f(0.0);");
    } else if (this.byQuery) {
      for (const name of this.has("gradient") ? ["logSum", "delta"] : ["logSum"]) {
        shader.add(`let ${name}_own = vec4f(${OWNED.map((r) => this.#rows.number(name, `own${r}`)).join(", ")});`);
      }
    }
    if (!this.writtenOut) return;
    for (const r of OWNED) for (const name of this.sides()) this.#rows.whole(name[0], `own${r}`);
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

  /** Operands of the products with the block's rows, the owned one first: of `score`, and of `slope` where it is needed. */
  private sides(): [own: string, other: string][] {
    const pairs: [string, string][] = [["q", "k"], ...this.has("gradient") ? [["dy", "v"] as [string, string]] : []];
    return this.byQuery ? pairs : pairs.map(([a, b]) => [b, a]);
  }

  /** Products of the owned rows with those of the block: `score` for q·k, and `slope` for dy·v. */
  private products(unrolled: boolean): void {
    const { shader, block, workgroup } = this;
    for (const j of block) shader.add(`let row${j} = min(other + ${j}u, other_count - 1u);`);
    this.sides().forEach(([own, other], number) => {
      const result = ["score", "slope"][number];
      for (const j of block) shader.add(`var ${result}${j} = vec4f(0.0);`);
      if (this.writtenOut) return this.wholeProducts(result, own, other);
      this.loopedProducts(result, own, other, unrolled);
      for (const j of block) shader.add(`${result}s[${j * workgroup}u + local.x] = ${result}${j};`);
    });
  }

  private wholeProducts(result: string, own: string, other: string): void {
    const { shader } = this;
    const owned = OWNED.map((r) => this.#rows.whole(own, `own${r}`));
    for (const j of this.block) {
      this.#rows.whole(other, `row${j}`).forEach((y, e) => {
        shader.add(`${result}${j} += vec4f(${owned.map((fours) => `dot(${fours[e]}, ${y})`).join(", ")});`);
      });
    }
  }

  private loopedProducts(result: string, own: string, other: string, unrolled: boolean): void {
    const { shader, scene: { rows }, block } = this;
    const owns = OWNED.map((r) => shader.let(this.#rows.at(own, `own${r}`), "at"));
    const others = block.map((j) => shader.let(this.#rows.at(other, `row${j}`), "at"));
    const { channels } = rows[own];
    const turn = (d: string) => {
      const as = owns.map((at) => shader.let(this.#rows.four(own, at, d), "x"));
      for (const j of block) {
        const y = shader.let(this.#rows.four(other, others[j], d), "y");
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

  /** Which of the four owned rows see a row of the block. */
  private visible({ j, row }: BlockRow): string {
    const { shader, scene: { attrs, queries, keys } } = this;
    const terms = [`vec4<bool>(other + ${j} < other_count)`];
    const [T, S] = [shader.num(queries), shader.num(keys)];
    const owned = "(vec4u(own) + vec4u(0u, 1u, 2u, 3u))", other = `vec4u(other + ${j})`;
    const [query, key] = this.byQuery ? [owned, other] : [other, owned];
    if (attrs.causal) terms.push(`(${key} + ${T} <= ${query} + ${S})`);
    if (attrs.masked === "bool") terms.push(`vec4<bool>(${this.mask(row)})`);
    return terms.join(" & ");
  }

  /** The mask between the four owned rows and another. */
  private mask(row: string): string {
    const { shader, scene: { rows: { mask } } } = this;
    return OWNED.map((r) => {
      const [query, key] = this.byQuery ? [`own${r}`, row] : [row, `own${r}`];
      const at = `${this.#rows.at("mask", query)} + ${key} * ${shader.num(mask.step)}`;
      return shader.load(mask.buffer, mask.dtype, at, 1);
    }).join(", ");
  }

  /** Statements for each row of the block. */
  private eachOfBlock(statements: (row: BlockRow) => void): void {
    const { shader, block, workgroup } = this;
    if (this.writtenOut) {
      for (const j of block) {
        shader.add("{");
        statements({ j: `${j}u`, row: `row${j}`, score: `score${j}`, slope: `slope${j}` });
        shader.add("}");
      }
      return;
    }
    shader.add(`for (var j = 0u; j < ${block.length}u; j++) {`, "let row = min(other + j, other_count - 1u);");
    shader.add(`let place = j * ${workgroup}u + local.x;`);
    statements({ j: "j", row: "row", score: "scores[place]", slope: "slopes[place]" });
    shader.add("}");
  }

  /** Names what is seen of a row, and its score with scale and mask. */
  private nameScore(at: BlockRow): void {
    const { shader, scene: { attrs } } = this;
    const added = attrs.masked === "add" ? ` + vec4f(${this.mask(at.row)})` : "";
    shader.add(`let seen = ${this.visible(at)};`);
    shader.add(`let score = ${at.score} * ${shader.constant(attrs.scale, "f32")}${added};`);
  }

  /** Turns products into weights and adds the block's vectors, weighted. */
  private accumulate(): void {
    const { shader, role: { sums } } = this;
    if (this.writtenOut) {
      // the rows are read outside of the blocks of statements that share them
      for (const { vectors } of sums) for (const j of this.block) this.#rows.whole(vectors, `row${j}`);
    }
    if (this.has("softmax")) return this.accumulateSoftmax(sums[0]);
    const exp = shader.library.use("exp", 4);
    this.eachOfBlock((at) => {
      this.nameScore(at);
      const of = (name: string) => this.byQuery ? `${name}_own` : `vec4f(${this.#rows.number(name, at.row)})`;
      shader.add(`let p = ${exp}(score - ${of("logSum")});`);
      sums.forEach((sum, number) => {
        const weight = sum.weights === "gradient" ? `p * (${at.slope} - ${of("delta")})` : "p";
        this.addVector(sum, number, at.row, shader.let(`select(vec4f(0.0), ${weight}, seen)`, "weight"));
      });
    });
  }

  /** The peak of the scores may rise with a block: what was summed before then shrinks. */
  private accumulateSoftmax(sum: Sum): void {
    const { shader } = this;
    const exp = shader.library.use("exp", 4), special = shader.library.use("special", 1);
    shader.add("var top = peak;");
    this.eachOfBlock((at) => {
      this.nameScore(at);
      shader.add(`${at.score} = select(vec4f(${special}(0xff800000u)), score, seen);`, `top = max(top, ${at.score});`);
    });
    // a row that has seen nothing yet is measured from 0, so that its weights are 0
    shader.add("let level = select(top, vec4f(0.0), bitcast<vec4u>(top) == vec4u(0xff800000u));");
    shader.add(`let shrink = ${exp}(peak - level);`, "peak = top;", "total *= shrink;");
    for (const r of OWNED) {
      for (let e = 0; e < foursOf(this.scene, sum); e++) shader.add(`sum0_${r}_${e} *= shrink[${r}];`);
    }
    this.eachOfBlock(({ row, score }) => {
      shader.add(`let weight = ${exp}(${score} - level);`, "total += weight;");
      this.addVector(sum, 0, row, "weight");
    });
  }

  /** Adds the vector of a row to the sums of the owned rows. */
  private addVector(sum: Sum, number: number, row: string, weight: string): void {
    const { shader } = this;
    const fours = this.writtenOut ? this.#rows.whole(sum.vectors, row) : this.readVector(sum, row);
    fours.forEach((x, e) => {
      for (const r of OWNED) {
        const name = `sum${number}_${r}_${e}`;
        shader.add(`${name} = fma(vec4f(${weight}[${r}]), ${x}, ${name});`);
      }
    });
  }

  /** This chunk of a row, in fours. */
  private readVector(sum: Sum, row: string): string[] {
    const { shader } = this;
    const at = shader.let(this.#rows.at(sum.vectors, row), "at");
    return Array.from(
      { length: foursOf(this.scene, sum) },
      (_, e) => shader.let(this.#rows.four(sum.vectors, at, `first + ${4 * e}u`), "x"),
    );
  }
}
