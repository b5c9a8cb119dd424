/**
 * Writes the code of a region: loops over rows, passes over the inner axes, vectors, and the elements left over.
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
 * @module
 */
import { bytesPerElement, type DType } from "../../core/dtype.ts";
import { identityOf, type ReduceOp } from "../../core/scalar.ts";
import { loadVector, type Place, stepOf, storeVector } from "./access.ts";
import type { Func, Local } from "./assembler.ts";
import type { RegionPlan } from "./axes.ts";
import { type Expr, i32, type V128 } from "./instructions.ts";
import type { Vector } from "./math.ts";
import { combine, lanesOf, scalars } from "./scalar.ts";
import { f32x4, i32x4, i8x16 } from "./simd.ts";
import type { Depends, RegionShape } from "./region.ts";

type Int = Local<"i32">;

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

/** What is known inside one loop: values, and where each operand has got to. */
class Scope {
  readonly values = new Map<number, Vector>();
  readonly pointers = new Map<number, Int>();
  constructor(readonly parent: Scope | null) {}
  value(i: number): Vector | undefined {
    return this.values.get(i) ?? this.parent?.value(i);
  }
  pointer(i: number): Int | undefined {
    return this.pointers.get(i) ?? this.parent?.pointer(i);
  }
}

/** How many elements the current loop body does at once. */
interface Width {
  readonly lanes: 1 | 4;
  readonly copies: number;
}

const ONE: Width = { lanes: 1, copies: 1 };
const VECTOR: Width = { lanes: 4, copies: 1 };
/** Pointers from this number on are those of kept values. */
const KEPT = 1 << 20;
/** Lane numbers. */
const IOTA = i32x4.const(0, 1, 2, 3);

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
  readonly #plan: RegionPlan;
  readonly #shape: RegionShape;
  #width: Width = VECTOR;
  #pass = 0;

  constructor(readonly f: Func, readonly args: Readonly<Record<string, Int>>, shape: RegionShape) {
    this.#plan = shape.plan;
    this.#shape = shape;
  }

  /** Writes the loops over a block. */
  write(block: Block): void {
    const { f } = this;
    const top = new Scope(null);
    this.#startPointers(top);
    this.#startKept(top);
    this.#hoist(top, (depends) => !depends.rows && !depends.vector && !depends.nest);
    const row = f.let(block.rowBegin);
    const coordinates = this.#decodeRow(row);
    f.count(row, { to: f.let(block.rowEnd) }, () => {
      const scope = this.#enterRow(top, row, coordinates, block);
      if (this.#plan.loops.along) this.#passes(scope);
      else this.#columns(scope, block);
      this.#nextRow(coordinates);
    });
  }

  // Operands. Pointer i belongs to instruction i, pointer ~k to store k. An index's "pointer" is its value.

  #accessOf(id: number) {
    const { body, stores } = this.#plan;
    return (id < 0 ? stores[~id] : body[id]).access;
  }

  #arg(id: number, part: string): Int {
    return this.args[id < 0 ? `s${~id}${part}` : `i${id}${part}`];
  }

  #startPointers(top: Scope): void {
    this.#plan.body.forEach((instr, i) => {
      if (instr.kind === "load" || instr.kind === "index") top.pointers.set(i, this.#arg(i, ""));
    });
    this.#plan.stores.forEach((_, k) => top.pointers.set(~k, this.#arg(~k, "")));
  }

  /** Bytes (whole numbers, for an index) between neighbours along the vector axis. */
  #vectorStride(id: number): Int | number {
    const stride = this.#accessOf(id).vector;
    const instr = id < 0 ? null : this.#plan.body[id];
    if (stepOf(stride) === "s") return this.#arg(id, "v");
    const dtype = id < 0 ? this.#shape.storeTypes[~id] : instr!.dtype;
    return instr?.kind === "index" ? stride : stride * bytesPerElement(dtype);
  }

  // Rows.

  #decodeRow(row: Int): Int[] {
    const { f } = this;
    const count = this.#plan.loops.rows.length;
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

  #nextRow(coordinates: readonly Int[]): void {
    const { f } = this;
    const carry = (k: number) => {
      f.increase(coordinates[k], 1);
      if (k === 0) return;
      f.if(i32.eq(coordinates[k], this.args[`row${k}`]), () => {
        f.set(coordinates[k], i32.const(0));
        carry(k - 1);
      });
    };
    if (coordinates.length > 1) carry(coordinates.length - 1);
  }

  #enterRow(top: Scope, row: Int, coordinates: readonly Int[], block: Block): Scope {
    const { f } = this;
    const scope = new Scope(top);
    for (const id of this.#shape.operands) {
      if (!top.pointers.has(id)) continue; // an epilogue's result
      let pointer: Expr<"i32"> = top.pointer(id)!;
      this.#accessOf(id).rows.forEach((stride, k) => {
        if (stride !== 0) pointer = i32.add(pointer, i32.mul(coordinates[k], this.#arg(id, `r${k}`)));
      });
      if (pointer !== top.pointer(id)) scope.pointers.set(id, f.let(pointer));
    }
    const { result } = block;
    if (result) {
      const done = i32.mul(i32.sub(row, block.rowBegin), result.rowBytes);
      const start = i32.sub(i32.add(result.pointer, done), i32.shl(block.columnBegin, 2));
      this.#plan.body.forEach(({ kind }, i) => {
        if (kind === "result") scope.pointers.set(i, f.let(start));
      });
    }
    this.#hoist(scope, (depends) => !depends.vector && !depends.nest);
    return scope;
  }

  // The vector axis.

  /** Repeats `body` for positions `begin` to `end` along the vector axis: many vectors, one vector, one element. */
  #vectors(begin: Expr<"i32">, end: Expr<"i32">, body: (j: Int) => void): void {
    const { f } = this;
    const { copies, even } = this.#shape;
    const j = f.let(begin);
    const count = f.let(i32.sub(end, j));
    const loop = (width: Width, to: Expr<"i32">) => {
      this.#width = width;
      f.count(j, { to, step: width.lanes * width.copies }, () => body(j));
    };
    const upTo = (step: number) => f.let(i32.add(begin, i32.and(count, -step)));
    if (copies > 1) loop({ lanes: 4, copies }, upTo(4 * copies));
    loop(VECTOR, upTo(4));
    if (!even) loop(ONE, end);
    this.#width = VECTOR;
  }

  #enterVector(outer: Scope, j: Int): Scope {
    const { f } = this;
    const scope = new Scope(outer);
    const offsets = new Map<string, Int>();
    for (const id of this.#shape.operands) {
      const stride = this.#vectorStride(id);
      if (stride === 0) continue;
      const key = typeof stride === "number" ? `${stride}` : `local ${stride.index}`;
      if (!offsets.has(key)) offsets.set(key, f.let(i32.mul(j, stride)));
      scope.pointers.set(id, f.let(i32.add(outer.pointer(id)!, offsets.get(key)!)));
    }
    for (const { slot } of this.#shape.kept.values()) {
      scope.pointers.set(KEPT + slot, f.let(i32.add(outer.pointer(KEPT + slot)!, i32.shl(j, 2))));
    }
    return scope;
  }

  #columns(row: Scope, block: Block): void {
    this.#vectors(block.columnBegin, block.columnEnd, (j) => {
      const scope = this.#enterVector(row, j);
      const copies = this.#copies(scope);
      copies.forEach((copy, u) => this.#hoist(copy, (depends) => !depends.nest, u, scope));
      if (this.#shape.passes.length > 0) this.#reduceAcross(scope, copies);
      this.#plan.stores.forEach((_, k) => {
        if (!this.#shape.fullStores.has(k)) this.#store(k, copies);
      });
    });
  }

  /** One scope for each vector that the loop body does. */
  #copies(scope: Scope): Scope[] {
    return Array.from({ length: this.#width.copies }, () => new Scope(scope));
  }

  #store(k: number, copies: readonly Scope[]): void {
    copies.forEach((scope, copy) => {
      const value = this.#evaluate(this.#plan.stores[k].value, scope, copy);
      storeVector(this.f, this.#place(~k, scope, copy), value);
    });
  }

  // Passes over the inner axes.

  #accumulators(instrs: readonly number[]): Accumulator[] {
    const { f } = this;
    return instrs.map((instr) => {
      const { op, dtype } = this.#plan.body[instr] as { op: ReduceOp; dtype: DType };
      const identity = constant(identityOf(op, dtype), dtype);
      const lanes = Array.from({ length: this.#width.copies }, () => f.let(identity));
      return { instr, op, dtype, lanes, rest: f.let(identity) };
    });
  }

  #combine({ op, dtype }: Accumulator, a: Vector, b: Vector): V128 {
    return scalars[combine[op]]({ f: this.f, lanes: lanesOf(dtype), dtype, args: [a, b] });
  }

  /** All inner places of the current columns, lane by lane. */
  #reduceAcross(scope: Scope, copies: Scope[]): void {
    for (const pass of this.#shape.passes) {
      const accumulators = this.#accumulators(pass.reduces);
      this.#nest(0, scope, (inner) => {
        const places = copies.map((copy) => rebase(copy, inner));
        places.forEach((place, copy) => {
          for (const accumulator of accumulators) {
            const value = this.#evaluate(this.#argOf(accumulator.instr), place, copy);
            this.f.set(accumulator.lanes[copy], this.#combine(accumulator, accumulator.lanes[copy], value));
          }
        });
        for (const k of pass.stores) this.#store(k, places);
      });
      for (const { instr, lanes } of accumulators) copies.forEach((copy, u) => copy.values.set(instr, lanes[u]));
    }
  }

  /** All inner places of the current row, the last axis in vectors. */
  #passes(row: Scope): void {
    const { f } = this;
    this.#shape.passes.forEach((pass, index) => {
      this.#pass = index;
      this.#width = { lanes: 4, copies: this.#shape.copies };
      const accumulators = this.#accumulators(pass.reduces);
      this.#nest(0, row, (inner) =>
        this.#vectors(i32.const(0), this.args.vector, (j) => {
          const copies = this.#copies(this.#enterVector(inner, j));
          copies.forEach((scope, copy) => {
            for (const accumulator of accumulators) {
              const value = this.#evaluate(this.#argOf(accumulator.instr), scope, copy);
              const into = this.#width.lanes === 1 ? accumulator.rest : accumulator.lanes[copy];
              f.set(into, this.#combine(accumulator, into, value));
            }
          });
          for (const k of pass.stores) this.#store(k, copies);
        }));
      for (const accumulator of accumulators) row.values.set(accumulator.instr, this.#acrossLanes(accumulator));
      this.#hoist(row, (depends) => !depends.vector && !depends.nest);
    });
    this.#width = ONE;
    this.#plan.stores.forEach((_, k) => {
      if (!this.#shape.fullStores.has(k)) this.#store(k, [row]);
    });
    this.#width = VECTOR;
  }

  /** One value for the whole row, in every lane. */
  #acrossLanes(accumulator: Accumulator): Vector {
    const { f } = this;
    const [first, ...others] = accumulator.lanes;
    const merge = (b: V128) => f.set(first, this.#combine(accumulator, first, f.let(b)));
    others.forEach(merge);
    merge(i8x16.shuffle32(first, first, [2, 3, 0, 1]));
    merge(i8x16.shuffle32(first, first, [1, 0, 3, 2]));
    if (!this.#shape.even) merge(accumulator.rest);
    return first;
  }

  #argOf(reduce: number): number {
    return (this.#plan.body[reduce] as { arg: number }).arg;
  }

  /** Loops over the inner axes that are no vector axis, moving the operands' pointers. */
  #nest(level: number, outer: Scope, body: (scope: Scope) => void): void {
    const { f } = this;
    if (level === this.#plan.loops.nest.length) return body(outer);
    const scope = new Scope(outer);
    const moving = this.#shape.operands.filter((id) => this.#accessOf(id).nest[level]);
    for (const id of moving) scope.pointers.set(id, f.let(outer.pointer(id)!));
    f.for({ to: this.args[`nest${level}`] }, () => {
      this.#nest(level + 1, new Scope(scope), body);
      for (const id of moving) f.increase(scope.pointer(id) as Int, this.#arg(id, `n${level}`));
    });
  }

  // Values.

  /** Computes what can be computed here, before the loops inside. */
  #hoist(scope: Scope, fits: (depends: Depends) => boolean, copy = 0, shared: Scope = scope): void {
    this.#plan.body.forEach((_, i) => {
      if (!this.#shape.needed.has(i) || scope.value(i) || !fits(this.#shape.depends[i])) return;
      if (!this.#ready(i, scope)) return;
      const alike = !this.#shape.depends[i].vector;
      this.#evaluate(i, alike ? shared : scope, copy);
    });
  }

  /** Whether all reductions that instruction `i` rests on have been made. */
  #ready(i: number, scope: Scope): boolean {
    if (scope.value(i)) return true;
    const instr = this.#plan.body[i];
    if (instr.kind === "reduce") return false;
    return instr.kind !== "scalar" || instr.args.every((arg) => this.#ready(arg, scope));
  }

  /** The value of instruction `i`, from this scope or computed in it. */
  #evaluate(i: number, scope: Scope, copy: number): Vector {
    const known = scope.value(i);
    if (known) return known;
    const value = this.f.let(this.#compute(i, scope, copy));
    scope.values.set(i, value);
    return value;
  }

  #compute(i: number, scope: Scope, copy: number): V128 {
    const instr = this.#plan.body[i];
    const { f } = this;
    switch (instr.kind) {
      case "const":
        return i32x4.splat(this.#arg(i, ""));
      case "load":
      case "result":
        return loadVector(f, this.#place(i, scope, copy));
      case "index":
        return this.#index(i, scope, copy, instr.dtype);
      case "reduce":
        throw new Error("Cannot compute a reduction outside of its pass");
      case "scalar": {
        const kept = this.#keptPlace(i, scope, copy);
        if (kept && this.#shape.kept.get(i)!.pass < this.#pass) return loadVector(f, kept);
        const args = instr.args.map((arg) => this.#evaluate(arg, scope, copy));
        const first = this.#plan.body[instr.args[instr.op === "where" ? 1 : 0]].dtype;
        const count = this.#shape.shiftCounts.get(i);
        const value = f.let(scalars[instr.op]({ f, lanes: lanesOf(first), dtype: instr.dtype, args, count }));
        if (kept) storeVector(f, kept, value);
        return value;
      }
    }
  }

  #index(i: number, scope: Scope, copy: number, dtype: DType): V128 {
    const { f } = this;
    const stride = this.#vectorStride(i);
    let value: V128 = i32x4.splat(scope.pointer(i)!);
    if (stride !== 0 && this.#width.lanes === 4) {
      const lanes = copy === 0 ? IOTA : i32x4.add(IOTA, i32x4.const(4 * copy));
      value = i32x4.add(value, stride === 1 ? lanes : i32x4.mul(lanes, i32x4.splat(stride)));
    }
    return lanesOf(dtype) === "f32" ? f32x4.convert_i32x4_s(value) : f.let(value);
  }

  #place(id: number, scope: Scope, copy: number): Place {
    const step = stepOf(this.#accessOf(id).vector);
    return {
      dtype: id < 0 ? this.#shape.storeTypes[~id] : this.#plan.body[id].dtype,
      step,
      pointer: scope.pointer(id)!,
      stride: this.#vectorStride(id),
      width: this.#width.lanes,
      copy,
    };
  }

  // Values kept from one pass for later ones, in the thread's scratch memory.

  #startKept(top: Scope): void {
    const { f } = this;
    const bytes = () => i32.and(i32.add(i32.shl(this.args.vector, 2), 15), -16);
    for (const { slot } of this.#shape.kept.values()) {
      const base = i32.add(f.module.global("scratch"), i32.mul(bytes(), slot));
      top.pointers.set(KEPT + slot, f.let(base));
    }
  }

  /** Where the value of instruction `i` is kept, if it is. */
  #keptPlace(i: number, scope: Scope, copy: number): Place | null {
    const kept = this.#shape.kept.get(i);
    if (!kept || kept.pass > this.#pass) return null;
    const pointer = scope.pointer(KEPT + kept.slot)!;
    return { dtype: "f32", step: "1", pointer, stride: 4, width: this.#width.lanes, copy };
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
