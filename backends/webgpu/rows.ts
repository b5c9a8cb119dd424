/**
 * Regions with inner axes: rows that are reduced, once or several times, and what is computed from the reductions.
 *
 * ```text
 *  softmax:  pass 0  m = max x        pass 1  s = sum exp(x - m)        last  r = 1 / s   y = exp(x - m) · r
 * ```
 *
 * A row is read once a pass, by one invocation or by several that combine their parts in workgroup memory; few rows
 * that are very long are cut into chunks that a second kernel combines. The order of every sum is fixed.
 *
 * @module
 */
import type { BufferPlan, Region, RegionStep } from "../../core/program.ts";
import { COMBINE, neutralOf } from "../../core/scalar.ts";
import { size } from "../../core/shape.ts";
import type { Width } from "./math.ts";
import { coordinatesOf, Evaluator, type Value, widen } from "./region.ts";
import { type Analysis, analyze, chooseLayout, type Layout, type Reduce } from "./row_layout.ts";
import { laneOf, typeName } from "./scalar.ts";
import { type Context, type Kernel, Shader, spread } from "./shader.ts";

/** Elements of rows, read three times or more, that are worth a copy. */
const WORTH_ROWS = 2 ** 15;

/** The kernels of a region with inner axes. */
export function lowerRows(step: RegionStep, context: Context): Kernel[] {
  const { region } = step;
  if (size(region.outer) === 0) return [];
  const analysis = analyze(region);
  const layout = chooseLayout(step.name, region, analysis, context);
  if (layout.chunks === 1) return [new RowKernel(step, context, analysis, layout).whole()];
  const width = layout.lanes === "outer" ? 4 : 1;
  const partials = analysis.passes[0].map(({ dtype }) =>
    context.scratch(laneOf(dtype), size(region.outer) * layout.chunks)
  );
  return [
    new RowKernel(step, context, analysis, layout).chunk(partials, width),
    new RowKernel(step, context, analysis, { ...layout, threads: 1, rows: 8 }).combine(partials, width),
  ];
}

/** Whether so many rows are read so often that images of them pay. */
function readsOften({ outer, inner }: Region, { passes, fullStores }: Analysis): boolean {
  const loops = passes.length + (fullStores.length > 0 ? 1 : 0);
  return loops > 2 && size(outer) * size(inner) >= WORTH_ROWS;
}

/** One kernel over rows, while it is written. */
class RowKernel {
  readonly shader: Shader;
  readonly region: Region;
  readonly evaluator: Evaluator;
  /** Number of this invocation among those that share its row. */
  #thread = "0u";
  #row = "";
  #outer: readonly string[] = [];
  readonly width: Width;

  constructor(step: RegionStep, readonly context: Context, readonly analysis: Analysis, readonly layout: Layout) {
    this.shader = new Shader(step.name, context);
    this.region = step.region;
    this.width = layout.lanes === "none" ? 1 : 4;
    const buffers = (numbers: readonly number[]) => numbers.map((number) => context.buffer(number));
    this.evaluator = new Evaluator(this.shader, step.region, buffers(step.inputs), buffers(step.outputs), {
      coordinates: [],
      laneAxis: layout.laneAxis,
      width: this.width,
    }, readsOften(step.region, analysis));
  }

  /** Rows, in fours where lanes lie across them. */
  private get rowCount(): number {
    return size(this.region.outer) / (this.layout.lanes === "outer" ? 4 : 1);
  }

  /** Places of a row, in fours where lanes lie along it. */
  private get length(): number {
    return size(this.region.inner) / (this.layout.lanes === "inner" ? 4 : 1);
  }

  /** Names this invocation's row and its place in it; `count` units of work are shared out. */
  private begin(count: number): void {
    const { shader, layout: { threads, rows, columns } } = this;
    shader.add("let workgroup = group.y * groups.x + group.x;");
    if (threads === 1) {
      shader.add(`let row = workgroup * ${rows}u + local.x;`, `if (row >= ${shader.num(count)}) { return; }`);
    } else {
      const [row, thread] = columns
        ? [`local.x % ${rows}u`, `local.x / ${rows}u`]
        : [`local.x / ${threads}u`, `local.x % ${threads}u`];
      shader.add(`let thread = ${thread};`, `let place = workgroup * ${rows}u + ${row};`);
      shader.add(`let alive = place < ${shader.num(count)};`, `let row = min(place, ${shader.num(count)} - 1u);`);
      this.#thread = "thread";
    }
    this.#row = "row";
  }

  /** Settles the coordinates of the row. */
  private enter(row: string): void {
    const { outer } = this.region;
    this.#outer = coordinatesOf(this.shader, row, outer, this.layout.lanes === "outer" ? 4 : 1);
    const inner = this.region.inner.map(() => "0u");
    this.evaluator.position = { ...this.evaluator.position, coordinates: [...this.#outer, ...inner] };
  }

  /** Computes row-level instructions that the passes done so far allow, outside of any loop. */
  private rowLevel(done: number): void {
    this.region.body.forEach((instr, i) => {
      const ready = this.analysis.isRow[i] && this.analysis.level[i] <= done;
      if (ready && instr.kind !== "reduce") this.evaluator.value(i);
    });
  }

  /** A loop over this invocation's places of the row, `from` and `to` being its bounds. */
  private loop(from: string, to: string, body: () => void): void {
    const { shader, evaluator, layout } = this;
    const j = shader.fresh("j");
    shader.add(`for (var ${j} = ${from}; ${j} < ${to}; ${j} += ${layout.threads}u) {`);
    evaluator.block(() => {
      const inner = coordinatesOf(shader, j, this.region.inner, layout.lanes === "inner" ? 4 : 1);
      evaluator.position = { ...evaluator.position, coordinates: [...this.#outer, ...inner] };
      body();
    });
    shader.add("}");
  }

  /** One pass over the row: accumulates its reductions and combines the invocations' parts. */
  private pass(reduces: readonly Reduce[], from: string, to: string): void {
    const { shader, evaluator, width } = this;
    const sums = reduces.map(({ op, dtype }) => {
      const lane = laneOf(dtype);
      const name = shader.fresh("sum");
      const start = shader.constant(neutralOf(op, lane === "bool" ? "bool" : dtype), lane);
      shader.add(`var ${name} = ${typeName(lane, width)}(${start});`);
      return name;
    });
    this.loop(from, to, () => {
      const values = reduces.map(({ arg }) => evaluator.wide(arg, width));
      reduces.forEach((reduce, k) => shader.add(`${sums[k]} = ${this.join(reduce, sums[k], values[k], width)};`));
    });
    const parts = sums.map((name, k): Value => this.acrossLanes(reduces[k], name));
    const totals = this.layout.threads === 1 ? parts : this.acrossThreads(reduces, parts);
    reduces.forEach(({ index }, k) => evaluator.set(index, totals[k]));
  }

  private join({ op, dtype }: Reduce, a: string, b: string, width: Width): string {
    return this.shader.scalar(COMBINE[op], [a, b], laneOf(dtype), dtype, width);
  }

  /** Four lanes along the row become one value. */
  private acrossLanes(reduce: Reduce, name: string): Value {
    if (this.layout.lanes !== "inner") return { name, width: this.width };
    const low = this.join(reduce, `${name}.x`, `${name}.y`, 1);
    const high = this.join(reduce, `${name}.z`, `${name}.w`, 1);
    return { name: this.shader.let(this.join(reduce, low, high, 1)), width: 1 };
  }

  /** The parts of all invocations of a row become one value, known to each of them. */
  private acrossThreads(reduces: readonly Reduce[], parts: readonly Value[]): Value[] {
    const { shader, layout: { threads, rows, columns } } = this;
    const step = columns ? rows : 1;
    const first = columns ? `local.x % ${rows}u` : `local.x - thread`;
    const memory = reduces.map(({ dtype }, k) => {
      const name = shader.fresh("shared");
      const lane = laneOf(dtype);
      const type = typeName(lane === "bool" ? "u32" : lane, parts[k].width);
      shader.globals.push(`var<workgroup> ${name}: array<${type}, ${threads * rows}>;`);
      const put = (value: string) => lane === "bool" ? `select(${type}(0u), ${type}(1u), ${value})` : value;
      const get = (at: string) => lane === "bool" ? `(${name}[${at}] != ${type}(0u))` : `${name}[${at}]`;
      return { name, put, get };
    });
    memory.forEach(({ name, put }, k) => shader.add(`${name}[local.x] = ${put(parts[k].name)};`));
    shader.add("workgroupBarrier();");
    for (let half = threads / 2; half >= 1; half /= 2) {
      shader.add(`if (thread < ${half}u) {`);
      memory.forEach(({ name, put, get }, k) => {
        const joined = this.join(reduces[k], get("local.x"), get(`local.x + ${half * step}u`), parts[k].width);
        shader.add(`${name}[local.x] = ${put(joined)};`);
      });
      shader.add("}", "workgroupBarrier();");
    }
    return memory.map(({ get }, k) => ({ name: shader.let(get(first)), width: parts[k].width }));
  }

  private storeRows(): void {
    const { shader, evaluator, analysis: { rowStores }, layout: { threads } } = this;
    if (rowStores.length === 0) return;
    this.rowLevel(Infinity);
    if (threads > 1) shader.add("if (alive && thread == 0u) {");
    for (const store of rowStores) evaluator.store(store);
    if (threads > 1) shader.add("}");
  }

  /** The kernel that does everything. */
  whole(): Kernel {
    const { shader, evaluator, analysis: { passes, fullStores }, layout: { threads, rows } } = this;
    this.begin(this.rowCount);
    this.enter(this.#row);
    passes.forEach((reduces, done) => {
      this.rowLevel(done);
      this.pass(reduces, this.#thread, shader.num(this.length));
    });
    if (fullStores.length > 0) {
      this.rowLevel(passes.length);
      const end = shader.num(this.length);
      this.loop(this.#thread, threads > 1 ? `select(0u, ${end}, alive)` : end, () => {
        for (const store of fullStores) evaluator.value(store.value);
        for (const store of fullStores) evaluator.store(store);
      });
    }
    this.storeRows();
    return shader.finish(spread(Math.ceil(this.rowCount / rows)), [threads * rows, 1]);
  }

  /** The kernel that reduces every chunk of every row. */
  chunk(partials: readonly BufferPlan[], width: Width): Kernel {
    const { shader, analysis: { passes: [reduces] }, layout: { threads, rows, chunks } } = this;
    const count = this.rowCount * chunks;
    this.begin(count);
    const row = shader.let(`row / ${shader.num(chunks)}`, "r");
    const chunk = shader.let(`row - ${row} * ${shader.num(chunks)}`, "k");
    this.enter(row);
    this.rowLevel(0);
    const length = shader.num(Math.ceil(this.length / chunks));
    const end = `min((${chunk} + 1u) * ${length}, ${shader.num(this.length)})`;
    this.pass(reduces, `${chunk} * ${length} + ${this.#thread}`, shader.let(end, "end"));
    if (threads > 1) shader.add("if (alive && thread == 0u) {");
    reduces.forEach(({ index, dtype }, k) => {
      const at = width === 4 ? "row * 4u" : "row";
      const value = widen(this.evaluator.value(index), dtype, width);
      shader.add(shader.store(partials[k], laneOf(dtype), at, value, width));
    });
    if (threads > 1) shader.add("}");
    return shader.finish(spread(Math.ceil(count / rows)), [threads * rows, 1]);
  }

  /** The kernel that combines the chunks of every row, and does what follows. */
  combine(partials: readonly BufferPlan[], width: Width): Kernel {
    const { shader, evaluator, analysis: { passes: [reduces] }, layout: { rows, chunks } } = this;
    this.begin(this.rowCount);
    this.enter(this.#row);
    const totals = reduces.map((reduce, k) => {
      const lane = laneOf(reduce.dtype);
      const name = shader.fresh("sum");
      shader.add(
        `var ${name} = ${typeName(lane, width)}(${shader.constant(neutralOf(reduce.op, reduce.dtype), lane)});`,
      );
      const k0 = shader.fresh("k");
      shader.add(`for (var ${k0} = 0u; ${k0} < ${shader.num(chunks)}; ${k0}++) {`);
      const at = `(row * ${shader.num(chunks)} + ${k0})${width === 4 ? " * 4u" : ""}`;
      const part = shader.load(partials[k], lane, at, width);
      shader.add(`  ${name} = ${this.join(reduce, name, part, width)};`, "}");
      return { name, width };
    });
    reduces.forEach(({ index }, k) => evaluator.set(index, totals[k]));
    this.storeRows();
    return shader.finish(spread(Math.ceil(this.rowCount / rows)), [rows, 1]);
  }
}
