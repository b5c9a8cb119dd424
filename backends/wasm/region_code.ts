/**
 * Writes the loops of a region: rows, passes over the inner axes, vectors, and the elements left over.
 *
 * ```text
 *  across                                       along
 *  for each row                                 for each row
 *    for columns, in vectors                      for each pass
 *      for each pass                                for the inner axes, the last in vectors
 *        for the inner axes                           values; reductions into lanes
 *          values; reductions lane by lane          lanes combined
 *      stores                                     stores of row values
 * ```
 *
 * A pass is one sweep over the inner axes: reductions that need only earlier passes are computed together, and the last
 * pass also makes the stores that have one element for every inner place. Values that do not change inside a loop are
 * computed before it.
 *
 * A loop's body does several vectors in lockstep: each is a chain of instructions that wait for each other, and while one
 * waits another can go on.
 *
 * A map that reads something transposed goes through rows and columns in squares of four by four, so that both sides
 * are read and written in vectors.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import { COMBINE, neutralOf, type ReduceOp } from "../../core/scalar.ts";
import type { Func, Int } from "./assembler.ts";
import type { Loops } from "./axes.ts";
import { type Expr, i32, type V128 } from "./instructions.ts";
import type { Vector } from "./math.ts";
import type { RegionAnalysis } from "./region_analysis.ts";
import { ONE, Scope, TILE, Values, VECTOR, type Width } from "./region_values.ts";
import { lanesOf, scalars } from "./scalar.ts";
import { f32x4, i32x4, i8x16 } from "./simd.ts";

/** The part of a region that a function call does. */
export interface Block {
  readonly rowBegin: Expr<"i32">;
  readonly rowEnd: Expr<"i32">;
  /** Along the vector axis; ignored when that is an inner axis. */
  readonly columnBegin: Expr<"i32">;
  readonly columnEnd: Expr<"i32">;
  /** Where an epilogue finds the op's values for this block: a pointer, and the bytes from row to row. */
  readonly result?: { readonly pointer: Int; readonly rowBytes: Int };
}

/** Accumulators of one reduction: one for each copy, and one for the elements left over. */
interface Accumulator {
  readonly instr: number;
  readonly op: ReduceOp;
  readonly dtype: DType;
  readonly lanes: readonly Vector[];
  readonly rest: Vector;
}

/** Writes one region into one function. */
export class RegionWriter {
  readonly #values: Values;
  readonly #loops: Loops;

  constructor(readonly f: Func, readonly args: Readonly<Record<string, Int>>, readonly analysis: RegionAnalysis) {
    this.#values = new Values(f, args, analysis);
    this.#loops = analysis.plan.loops;
  }

  /** Writes the loops over a block. */
  write(block: Block): void {
    const { f } = this;
    const top = new Scope(null);
    this.#values.startPointers(top);
    this.#values.hoist(top, (depends) => !depends.rows && !depends.vector && !depends.nest);
    const row = f.let(block.rowBegin);
    const coordinates = this.#decodeRow(row);
    const rowsAtOnce = this.analysis.transposed.length > 0 ? TILE.copies : 1;
    f.count(row, { to: f.let(block.rowEnd), step: rowsAtOnce }, () => {
      const scope = this.#enterRow(top, row, coordinates, block);
      if (this.#loops.along) this.#passes(scope);
      else this.#columns(scope, block);
      this.#nextRow(coordinates, rowsAtOnce);
    });
  }

  // Rows.

  #decodeRow(row: Int): Int[] {
    const { f } = this;
    const count = this.#loops.rows.length;
    if (count < 2) return count === 1 ? [row] : [];
    const rest = f.let(row);
    const coordinates: Int[] = [];
    for (let k = count - 1; k > 0; k--) {
      coordinates[k] = f.let(i32.rem_u(rest, this.args[`row${k}`]));
      f.set(rest, i32.div_u(rest, this.args[`row${k}`]));
    }
    coordinates[0] = rest;
    return coordinates;
  }

  #nextRow(coordinates: readonly Int[], step: number): void {
    const { f } = this;
    const carry = (k: number, by: number) => {
      f.increase(coordinates[k], by);
      if (k === 0) return;
      f.if(i32.eq(coordinates[k], this.args[`row${k}`]), () => {
        f.set(coordinates[k], i32.const(0));
        carry(k - 1, 1);
      });
    };
    if (coordinates.length > 1) carry(coordinates.length - 1, step);
  }

  #enterRow(top: Scope, row: Int, coordinates: readonly Int[], block: Block): Scope {
    const { f } = this;
    const scope = new Scope(top);
    for (const id of this.analysis.operands) {
      if (!top.pointers.has(id)) continue; // an epilogue's result
      let pointer: Expr<"i32"> = top.pointer(id)!;
      this.#values.accessOf(id).rows.forEach((stride, k) => {
        if (stride !== 0) pointer = i32.add(pointer, i32.mul(coordinates[k], this.#values.arg(id, `r${k}`)));
      });
      if (pointer !== top.pointer(id)) scope.pointers.set(id, f.let(pointer));
    }
    const { result } = block;
    if (result) {
      const done = i32.mul(i32.sub(row, block.rowBegin), result.rowBytes);
      const start = i32.sub(i32.add(result.pointer, done), i32.shl(block.columnBegin, 2));
      this.analysis.plan.body.forEach(({ kind }, i) => {
        if (kind === "result") scope.pointers.set(i, f.let(start));
      });
    }
    // Four rows at once have no row values in common.
    if (this.analysis.transposed.length === 0) {
      this.#values.hoist(scope, (depends) => !depends.vector && !depends.nest);
    }
    return scope;
  }

  // The vector axis.

  /** Repeats `body` for positions `begin` to `end` along the vector axis: many vectors, one vector, one element. */
  #vectors(begin: Expr<"i32">, end: Expr<"i32">, body: (j: Int) => void): void {
    const { f, analysis: { copies, unit, transposed } } = this;
    const j = f.let(begin);
    const count = f.let(i32.sub(end, j));
    const loop = (width: Width, step: number, to: Expr<"i32">) => {
      this.#values.width = width;
      f.count(j, { to, step }, () => body(j));
    };
    const upTo = (step: number) => f.let(i32.add(begin, i32.and(count, -step)));
    if (transposed.length > 0) loop(TILE, 4, end);
    else {
      if (copies > 1) loop({ lanes: 4, copies }, 4 * copies, upTo(4 * copies));
      if (copies === 1 || unit < 4 * copies) loop(VECTOR, 4, upTo(4));
      if (unit === 1) loop(ONE, 1, end);
    }
    this.#values.width = VECTOR;
  }

  #columns(row: Scope, block: Block): void {
    const values = this.#values;
    this.#vectors(block.columnBegin, block.columnEnd, (j) => {
      const scope = values.enterVector(row, j);
      const copies = values.copies(scope);
      this.f.lockstep(copies.map((copy, u) => () => values.hoist(copy, (depends) => !depends.nest, u)));
      if (this.analysis.passes.length > 0) this.#reduceAcross(scope, copies);
      values.store(this.#restStores(), copies);
    });
  }

  /** Stores that come after all passes. */
  #restStores(): number[] {
    return [...this.analysis.plan.stores.keys()].filter((k) => !this.analysis.fullStores.has(k));
  }

  // Passes over the inner axes.

  #accumulators(instrs: readonly number[]): Accumulator[] {
    const { f } = this;
    return instrs.map((instr) => {
      const { op, dtype } = this.analysis.plan.body[instr] as { op: ReduceOp; dtype: DType };
      const identity = constant(neutralOf(op, dtype), dtype);
      const lanes = Array.from({ length: this.#values.width.copies }, () => f.let(identity));
      return { instr, op, dtype, lanes, rest: f.let(identity) };
    });
  }

  #combine({ op, dtype }: Accumulator, a: Vector, b: Vector): V128 {
    return scalars[COMBINE[op]]({ f: this.f, lanes: lanesOf(dtype), dtype, args: [a, b] });
  }

  /** Adds the values at one inner place to the accumulators. */
  #accumulate(accumulators: readonly Accumulator[], places: readonly Scope[]): void {
    this.f.lockstep(places.map((place, copy) => () => {
      for (const accumulator of accumulators) this.#accumulateOne(accumulator, place, copy);
    }));
  }

  #accumulateOne(accumulator: Accumulator, place: Scope, copy: number): void {
    const { arg } = this.analysis.plan.body[accumulator.instr] as { arg: number };
    const single = this.#loops.along && this.#values.width.lanes === 1;
    const into = single ? accumulator.rest : accumulator.lanes[copy];
    const product = this.#productAt(accumulator, arg, place);
    if (product) {
      const [a, b] = product.map((factor) => this.#values.evaluate(factor, place, copy));
      this.f.set(into, this.f.madd(a, b, into));
    } else this.f.set(into, this.#combine(accumulator, into, this.#values.evaluate(arg, place, copy)));
  }

  /** The factors of a product that is only added up: multiplied and added at once. */
  #productAt({ op, dtype }: Accumulator, arg: number, place: Scope): readonly number[] | null {
    const instr = this.analysis.plan.body[arg];
    const fits = op === "sum" && lanesOf(dtype) === "f32" && instr.kind === "scalar" && instr.op === "mul";
    return fits && !place.value(arg) ? instr.args : null;
  }

  /** All inner places of the current columns, lane by lane. */
  #reduceAcross(scope: Scope, copies: Scope[]): void {
    for (const pass of this.analysis.passes) {
      const accumulators = this.#accumulators(pass.reduces);
      this.#nest(0, scope, (inner) => {
        if (this.analysis.passes.length === 1) this.#values.hoist(inner, (depends) => !depends.vector);
        const places = copies.map((copy) => rebase(copy, inner));
        this.#accumulate(accumulators, places);
        this.#values.store(pass.stores, places);
      });
      for (const { instr, lanes } of accumulators) copies.forEach((copy, u) => copy.values.set(instr, lanes[u]));
    }
  }

  /** All inner places of the current row, the last axis in vectors. */
  #passes(row: Scope): void {
    const values = this.#values;
    this.analysis.passes.forEach((pass, index) => {
      values.pass = index;
      values.width = { lanes: 4, copies: this.analysis.copies };
      const accumulators = this.#accumulators(pass.reduces);
      this.#nest(0, row, (inner) =>
        this.#vectors(i32.const(0), this.args.vector, (j) => {
          const copies = values.copies(values.enterVector(inner, j));
          this.#accumulate(accumulators, copies);
          values.store(pass.stores, copies);
        }));
      for (const accumulator of accumulators) row.values.set(accumulator.instr, this.#acrossLanes(accumulator));
      values.hoist(row, (depends) => !depends.vector && !depends.nest);
    });
    values.width = ONE;
    values.store(this.#restStores(), [row]);
    values.width = VECTOR;
  }

  /** One value for the whole row, in every lane. */
  #acrossLanes(accumulator: Accumulator): Vector {
    const { f } = this;
    const [first, ...others] = accumulator.lanes;
    const merge = (b: V128) => f.set(first, this.#combine(accumulator, first, f.let(b)));
    others.forEach(merge);
    merge(i8x16.shuffle32(first, first, [2, 3, 0, 1]));
    merge(i8x16.shuffle32(first, first, [1, 0, 3, 2]));
    if (this.analysis.unit === 1) merge(accumulator.rest);
    return first;
  }

  /** Loops over the inner axes that are no vector axis, moving the operands' pointers. */
  #nest(level: number, outer: Scope, body: (scope: Scope) => void): void {
    const { f } = this;
    if (level === this.#loops.nest.length) return body(outer);
    const scope = new Scope(outer);
    const moving = this.analysis.operands.filter((id) => this.#values.accessOf(id).nest[level]);
    for (const id of moving) scope.pointers.set(id, f.let(outer.pointer(id)!));
    f.for({ to: this.args[`nest${level}`] }, () => {
      this.#nest(level + 1, new Scope(scope), body);
      for (const id of moving) f.increase(scope.pointer(id)!, this.#values.arg(id, `n${level}`));
    });
  }
}

/** A constant in every lane. */
function constant(value: number, dtype: DType): V128 {
  const lanes = lanesOf(dtype);
  if (lanes === "f32") return f32x4.const(value);
  return i32x4.const(lanes === "bool" ? -value : value);
}

/** What one copy knows, at an inner place: pointers of the place, values of the copy. */
function rebase(copy: Scope, inner: Scope): Scope {
  const scope = new Scope(inner);
  for (const [i, value] of copy.values) scope.values.set(i, value);
  return scope;
}
