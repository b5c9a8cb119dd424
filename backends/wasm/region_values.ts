/**
 * Writes the values of a region's instructions: loads, constants, indices and scalar ops, each where it is first needed.
 *
 * @module
 */
import { bytesPerElement, type DType } from "../../core/dtype.ts";
import type { Instr } from "../../core/program.ts";
import { loadVector, type Place, stepOf, storeVector } from "./access.ts";
import type { Func, Int } from "./assembler.ts";
import type { Access } from "./axes.ts";
import { type Expr, i32, type V128 } from "./instructions.ts";
import { expOfWeight, type Vector } from "./math.ts";
import type { Depends, RegionAnalysis } from "./region_analysis.ts";
import { lanesOf, scalars } from "./scalar.ts";
import { f32x4, i32x4, transpose } from "./simd.ts";

type ScalarInstr = Extract<Instr, { kind: "scalar" }>;

/** What is known inside one loop: values, and where each operand has got to. */
export class Scope {
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

/** How many elements a loop's body does at once. */
export interface Width {
  readonly lanes: 1 | 4;
  /** Vectors at once: neighbours along the vector axis or, if `tiled`, the same place in neighbouring rows. */
  readonly copies: number;
  readonly tiled?: boolean;
}

/** One element. */
export const ONE: Width = { lanes: 1, copies: 1 };
/** One vector. */
export const VECTOR: Width = { lanes: 4, copies: 1 };
/** A square of four vectors. */
export const TILE: Width = { lanes: 4, copies: 4, tiled: true };

/** Pointers from this number on are those of kept values. */
const KEPT = 1 << 20;
/** Lane numbers. */
const IOTA = i32x4.const(0, 1, 2, 3);

/**
 * Evaluates instructions in scopes.
 *
 * Operand i is instruction i, operand ~k is store k. An index's "pointer" is its value.
 */
export class Values {
  /** Of the loop that is being written. */
  width: Width = VECTOR;
  /** The pass over the inner axes that is being written. */
  pass = 0;

  constructor(readonly f: Func, readonly args: Readonly<Record<string, Int>>, readonly analysis: RegionAnalysis) {}

  // Operands.

  /** Strides of an operand. */
  accessOf(id: number): Access {
    const { body, stores } = this.analysis.plan;
    return (id < 0 ? stores[~id] : body[id]).access;
  }

  /** The argument of an operand: its pointer, or a stride. */
  arg(id: number, part: string): Int {
    return this.args[id < 0 ? `s${~id}${part}` : `i${id}${part}`];
  }

  /** Pointers as the arguments give them. */
  startPointers(top: Scope): void {
    const { body, stores } = this.analysis.plan;
    body.forEach(({ kind }, i) => {
      if (kind === "load" || kind === "index") top.pointers.set(i, this.arg(i, ""));
    });
    stores.forEach((_, k) => top.pointers.set(~k, this.arg(~k, "")));
    this.#startKept(top);
  }

  /** Bytes (whole numbers, for an index) between neighbours along the vector axis. */
  #vectorStride(id: number): Int | number {
    const stride = this.accessOf(id).vector;
    if (stepOf(stride) === "s") return this.arg(id, "v");
    return this.#isIndex(id) ? stride : stride * bytesPerElement(this.#dtypeOf(id));
  }

  #isIndex(id: number): boolean {
    return id >= 0 && this.analysis.plan.body[id].kind === "index";
  }

  #dtypeOf(id: number): DType {
    return id < 0 ? this.analysis.storeTypes[~id] : this.analysis.plan.body[id].dtype;
  }

  /** A scope inside `outer` at position `j` of the vector axis. */
  enterVector(outer: Scope, j: Int): Scope {
    const { f } = this;
    const scope = new Scope(outer);
    const offsets = new Map<string, Int>();
    for (const id of this.analysis.operands) {
      const stride = this.#vectorStride(id);
      if (stride === 0) continue;
      const key = typeof stride === "number" ? `${stride}` : `local ${stride.index}`;
      if (!offsets.has(key)) offsets.set(key, f.let(i32.mul(j, stride)));
      scope.pointers.set(id, f.let(i32.add(outer.pointer(id)!, offsets.get(key)!)));
    }
    for (const { slot } of this.analysis.kept.values()) {
      scope.pointers.set(KEPT + slot, f.let(i32.add(outer.pointer(KEPT + slot)!, i32.shl(j, 2))));
    }
    return scope;
  }

  /** One scope for each vector that the loop's body does. */
  copies(scope: Scope): Scope[] {
    const copies = Array.from({ length: this.width.copies }, () => new Scope(scope));
    if (this.width.tiled) { for (const id of this.analysis.transposed) this.#loadTile(id, scope, copies); }
    return copies;
  }

  #place(id: number, scope: Scope, copy: number): Place {
    const place = {
      dtype: this.#dtypeOf(id),
      step: stepOf(this.accessOf(id).vector),
      pointer: scope.pointer(id)!,
      stride: this.#vectorStride(id),
      width: this.width.lanes,
      copy,
    };
    if (!this.width.tiled) return place;
    return { ...place, pointer: this.f.let(this.#inRow(id, place.pointer, copy)), copy: 0 };
  }

  /** A pointer (or an index) moved down by `copy` rows. */
  #inRow(id: number, pointer: Int, copy: number): Expr<"i32"> {
    const { rows } = this.accessOf(id);
    const last = rows.length - 1;
    return rows[last] && copy > 0 ? i32.add(pointer, i32.mul(copy, this.arg(id, `r${last}`))) : pointer;
  }

  /** Four rows of an operand whose rows are contiguous where ours are columns. */
  #loadTile(id: number, scope: Scope, copies: readonly Scope[]): void {
    const { f } = this;
    const stride = this.#vectorStride(id);
    const vectors = [0, 1, 2, 3].map((column) => {
      const pointer = f.let(i32.add(scope.pointer(id)!, i32.mul(column, stride)));
      return f.let(loadVector(f, { dtype: this.#dtypeOf(id), step: "1", pointer, stride: 0, width: 4, copy: 0 }));
    });
    transpose(f, vectors).forEach((row, copy) => copies[copy].values.set(id, f.let(row)));
  }

  /** Makes some of the stores for every copy: their values are computed before the first is stored. */
  store(stores: readonly number[], copies: readonly Scope[]): void {
    const valueOf = (k: number, copy: number) => this.evaluate(this.analysis.plan.stores[k].value, copies[copy], copy);
    this.f.lockstep(copies.map((_, copy) => () => stores.forEach((k) => valueOf(k, copy))));
    for (const k of stores) {
      copies.forEach((scope, copy) => storeVector(this.f, this.#place(~k, scope, copy), valueOf(k, copy)));
    }
  }

  // Instructions.

  /** Computes what can be computed here, before the loops inside. */
  hoist(scope: Scope, fits: (depends: Depends) => boolean, copy = 0): void {
    this.analysis.plan.body.forEach((_, i) => {
      const depends = this.analysis.depends[i];
      if (!this.analysis.needed.has(i) || scope.value(i) || !fits(depends) || !this.#ready(i, scope)) return;
      this.evaluate(i, scope, copy);
    });
  }

  /** Whether all reductions that instruction `i` rests on have been made. */
  #ready(i: number, scope: Scope): boolean {
    if (scope.value(i)) return true;
    const instr = this.analysis.plan.body[i];
    if (instr.kind === "reduce") return false;
    return instr.kind !== "scalar" || instr.args.every((arg) => this.#ready(arg, scope));
  }

  /** The value of instruction `i`, from this scope or computed in it. */
  evaluate(i: number, scope: Scope, copy: number): Vector {
    const known = scope.value(i);
    if (known) return known;
    const value = this.f.let(this.#compute(i, scope, copy));
    scope.values.set(i, value);
    return value;
  }

  #compute(i: number, scope: Scope, copy: number): V128 {
    const instr = this.analysis.plan.body[i];
    const { f } = this;
    switch (instr.kind) {
      case "const":
        return i32x4.splat(this.arg(i, ""));
      case "load":
      case "result":
        return loadVector(f, this.#place(i, scope, copy));
      case "index":
        return this.#index(i, scope, copy, instr.dtype);
      case "reduce":
        throw new Error("Cannot compute a reduction outside of its pass");
      case "scalar": {
        const kept = this.#keptPlace(i, scope, copy);
        if (kept && this.analysis.kept.get(i)!.pass < this.pass) return loadVector(f, kept);
        const args = instr.args.map((arg) => this.evaluate(arg, scope, copy));
        const value = f.let(this.#scalar(i, instr, args));
        if (kept) storeVector(f, kept, value);
        return value;
      }
    }
  }

  #scalar(i: number, { op, args: places, dtype }: ScalarInstr, args: Vector[]): V128 {
    if (this.analysis.weights.has(i)) return expOfWeight(this.f, args[0]);
    const first = this.analysis.plan.body[places[op === "where" ? 1 : 0]].dtype;
    return scalars[op]({ f: this.f, lanes: lanesOf(first), dtype, args, count: this.analysis.shiftCounts.get(i) });
  }

  #index(i: number, scope: Scope, copy: number, dtype: DType): V128 {
    const { lanes, tiled } = this.width;
    const stride = this.#vectorStride(i);
    const first = scope.pointer(i)!;
    let value: V128 = i32x4.splat(tiled ? this.#inRow(i, first, copy) : first);
    if (stride !== 0 && lanes === 4) {
      const steps = tiled || copy === 0 ? IOTA : i32x4.add(IOTA, i32x4.const(4 * copy));
      value = i32x4.add(value, stride === 1 ? steps : i32x4.mul(steps, i32x4.splat(stride)));
    }
    return lanesOf(dtype) === "f32" ? f32x4.convert_i32x4_s(value) : value;
  }

  // Values kept from one pass for later ones, in the thread's scratch memory.

  #startKept(top: Scope): void {
    const { f } = this;
    const bytes = () => i32.and(i32.add(i32.shl(this.args.vector, 2), 15), -16);
    for (const { slot } of this.analysis.kept.values()) {
      const base = i32.add(f.module.global("scratch"), i32.mul(bytes(), slot));
      top.pointers.set(KEPT + slot, f.let(base));
    }
  }

  /** Where the value of instruction `i` is kept, if it is. */
  #keptPlace(i: number, scope: Scope, copy: number): Place | null {
    const kept = this.analysis.kept.get(i);
    if (!kept || kept.pass > this.pass) return null;
    const pointer = scope.pointer(KEPT + kept.slot)!;
    return { dtype: "f32", step: "1", pointer, stride: 4, width: this.width.lanes, copy };
  }
}
