/**
 * Loads and stores of four elements (or one) for every dtype and stride.
 *
 * @module
 */
import { bytesPerElement, type DType } from "../../core/dtype.ts";
import type { Func, Int } from "./assembler.ts";
import { type Expr, type I32, i32, type V128 } from "./instructions.ts";
import { floatToHalf, halfToFloat } from "./half.ts";
import type { Vector } from "./math.ts";
import { i16x8, i32x4, v128 } from "./simd.ts";

/** How an operand moves along the vector axis. */
export type Step =
  /** It stays: one element for all lanes. */
  | "0"
  /** Lane by lane through memory. */
  | "1"
  /** In strides that an argument gives. */
  | "s";

/** The step of a stride. */
export function stepOf(stride: number): Step {
  return stride === 0 ? "0" : stride === 1 ? "1" : "s";
}

/** Where the elements are. */
export interface Place {
  readonly dtype: DType;
  readonly step: Step;
  /** Address of the first lane of copy 0. */
  readonly pointer: Int;
  /** Bytes between lanes, for step "s". */
  readonly stride: I32;
  /** 4, or 1 for the elements left over at the end. */
  readonly width: 1 | 4;
  /** The vector wanted: the loop body may be repeated for several in a row. */
  readonly copy: number;
}

/** Address of lane `lane` when lanes are a stride apart. */
function laneAddress({ pointer, stride, copy }: Place, lane: number): Expr<"i32"> {
  const steps = copy * 4 + lane;
  return steps === 0 ? pointer : i32.add(pointer, i32.mul(steps, stride));
}

/** What is in memory, as raw 32-bit lanes: half floats as the low 16 bits. */
function loadRaw(f: Func, place: Place): V128 {
  const { dtype, step, pointer, width, copy } = place;
  const bytes = bytesPerElement(dtype);
  const half = bytes === 2;
  if (width === 1 || step === "0") {
    const splat = half ? v128.load16_splat : v128.load32_splat;
    return half ? v128.and(splat(pointer), i32x4.const(0xffff)) : splat(pointer);
  }
  if (step === "1") return half ? v128.load16x4_u(pointer, 4 * bytes * copy) : v128.load(pointer, 4 * bytes * copy);
  let lanes: V128 = half ? i32x4.const(0) : v128.load32_splat(laneAddress(place, 0));
  for (let lane = half ? 0 : 1; lane < 4; lane++) {
    const address = laneAddress(place, lane);
    lanes = half ? v128.load16_lane(address, f.let(lanes), 2 * lane) : v128.load32_lane(address, f.let(lanes), lane);
  }
  return lanes;
}

/** Four elements in the form that the scalar table computes with. */
export function loadVector(f: Func, place: Place): V128 {
  const raw = loadRaw(f, place);
  if (place.dtype === "f16") return halfToFloat(f, f.let(raw));
  return place.dtype === "bool" ? i32x4.ne(raw, i32x4.const(0)) : raw;
}

/** Stores four elements, or one. */
export function storeVector(f: Func, place: Place, value: Vector): void {
  const { dtype, step, pointer, width, copy } = place;
  if (dtype === "f16") return storeHalves(f, place, f.let(floatToHalf(f, value)));
  const raw = dtype === "bool" ? f.let(i32x4.neg(value)) : value;
  if (width === 1 || step === "0") return f.do(v128.store32_lane(pointer, raw, 0));
  if (step === "1") return f.do(v128.store(pointer, raw, 16 * copy));
  for (let lane = 0; lane < 4; lane++) f.do(v128.store32_lane(laneAddress(place, lane), raw, lane));
}

function storeHalves(f: Func, place: Place, halves: Vector): void {
  const { step, pointer, width, copy } = place;
  if (width === 1 || step === "0") return f.do(v128.store16_lane(pointer, halves, 0));
  if (step === "1") return f.do(v128.store64_lane(pointer, i16x8.narrow_i32x4_u(halves, halves), 0, 8 * copy));
  for (let lane = 0; lane < 4; lane++) f.do(v128.store16_lane(laneAddress(place, lane), halves, 2 * lane));
}
