/**
 * Regions as WGSL: instructions turned into statements, and maps (regions without inner axes) into kernels.
 *
 * Four neighbours along one axis, the *lane axis*, are computed at once where sizes allow it. A value that does not
 * vary along the lane axis is computed once.
 *
 * @module
 */
import type { DType } from "../../core/dtype.ts";
import type { BufferPlan, Region, RegionStep, Store } from "../../core/program.ts";
import { size } from "../../core/shape.ts";
import type { Width } from "./math.ts";
import { laneOf, typeName } from "./scalar.ts";
import { type Context, type Kernel, Shader } from "./shader.ts";

/** A value in a register. */
export interface Value {
  readonly name: string;
  readonly width: Width;
}

/** Where an evaluator stands. */
export interface Position {
  /** Coordinate along each axis, as WGSL. */
  readonly coordinates: readonly string[];
  /** Axis along which four lanes lie, if `width` is 4. */
  readonly laneAxis: number;
  readonly width: Width;
}

/** The coordinates of element `index` of a space; the last may count in steps of `width`. */
export function coordinatesOf(shader: Shader, index: string, sizes: readonly number[], width: Width = 1): string[] {
  const coordinates = new Array<string>(sizes.length);
  let rest = index;
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    const last = axis === sizes.length - 1;
    const scale = last && width === 4 ? " * 4u" : "";
    if (axis === 0) {
      coordinates[0] = scale ? shader.let(`${rest}${scale}`, "c") : rest;
      break;
    }
    const n = shader.num(last ? Math.ceil(sizes[axis] / width) : sizes[axis]);
    const next = shader.let(`${rest} / ${n}`, "q");
    coordinates[axis] = shader.let(`(${rest} - ${next} * ${n})${scale}`, "c");
    rest = next;
  }
  return coordinates;
}

/** The element at `offset + coordinates · strides`. */
export function addressOf(
  shader: Shader,
  coordinates: readonly string[],
  strides: readonly number[],
  offset: number,
): string {
  const terms = coordinates.flatMap((c, axis) =>
    strides[axis] === 0 ? [] : [strides[axis] === 1 ? c : `${c} * ${shader.num(strides[axis])}`]
  );
  if (offset !== 0) terms.push(shader.num(offset));
  return terms.length === 0 ? "0u" : terms.join(" + ");
}

/** Whether four lanes along `axis` lie side by side, from a multiple of four on. */
function adjacent(strides: readonly number[], offset: number, axis: number): boolean {
  return strides[axis] === 1 && offset % 4 === 0 && strides.every((stride, a) => a === axis || stride % 4 === 0);
}

/** Turns a region's instructions into statements, each when it is first needed. */
export class Evaluator {
  #values = new Map<number, Value>();

  constructor(
    readonly shader: Shader,
    readonly region: Region,
    readonly inputs: readonly BufferPlan[],
    readonly outputs: readonly BufferPlan[],
    public position: Position,
    /** Whether rows are read so often that their images pay. */
    readonly images: boolean = false,
  ) {}

  /** Gives an instruction a value computed elsewhere (a reduction, the result of an op). */
  set(instr: number, value: Value): void {
    this.#values.set(instr, value);
  }

  /** Runs `f`; what it computed is forgotten afterwards, as its statements stand in a block. */
  block(f: () => void): void {
    const outside = this.#values;
    this.#values = new Map(outside);
    f();
    this.#values = outside;
  }

  /** An instruction's value. */
  value(index: number): Value {
    let value = this.#values.get(index);
    if (!value) this.#values.set(index, value = this.#compute(index));
    return value;
  }

  /** An instruction's value at a width of at least its own. */
  wide(index: number, width: Width): string {
    return widen(this.value(index), this.region.body[index].dtype, width);
  }

  #compute(index: number): Value {
    const { shader, region } = this;
    const instr = region.body[index];
    switch (instr.kind) {
      case "load":
        return this.#load(this.inputs[instr.input], instr.dtype, instr.strides, instr.offset);
      case "const":
        return { name: shader.let(shader.constant(instr.value, laneOf(instr.dtype))), width: 1 };
      case "index":
        return this.#index(instr.strides, instr.offset, instr.dtype);
      case "scalar": {
        const width = Math.max(...instr.args.map((arg) => this.value(arg).width)) as Width;
        const args = instr.args.map((arg) => this.wide(arg, width));
        const from = laneOf(region.body[instr.args.at(-1)!].dtype);
        return { name: shader.let(shader.scalar(instr.op, args, from, instr.dtype, width)), width };
      }
      default:
        throw new Error(`a region's ${instr.kind} has no value yet`);
    }
  }

  #load(buffer: BufferPlan, dtype: DType, strides: readonly number[], offset: number): Value {
    const { shader, position: { coordinates, laneAxis, width } } = this;
    const address = addressOf(shader, coordinates, strides, offset);
    if (width === 1 || strides[laneAxis] === 0) {
      return { name: shader.let(shader.load(buffer, dtype, address, 1)), width: 1 };
    }
    const four = adjacent(strides, offset, laneAxis) && shader.aligned(buffer, dtype)
      ? this.images && shader.hasImage(buffer, dtype)
        ? shader.fetch(buffer, address, 4)
        : shader.load(buffer, dtype, address, 4)
      : shader.gather(buffer, dtype, address, shader.num(strides[laneAxis]));
    return { name: shader.let(four), width: 4 };
  }

  #index(strides: readonly number[], offset: number, dtype: DType): Value {
    const { shader, position: { coordinates, laneAxis, width } } = this;
    const lane = laneOf(dtype);
    const first = `i32(${addressOf(shader, coordinates, strides, offset)})`;
    if (width === 1 || strides[laneAxis] === 0) {
      return { name: shader.let(shader.scalar("cast", [first], "i32", lane, 1)), width: 1 };
    }
    const four = `(${first} + vec4i(0, 1, 2, 3) * i32(${shader.num(strides[laneAxis])}))`;
    return { name: shader.let(shader.scalar("cast", [four], "i32", lane, 4)), width: 4 };
  }

  /** Writes a value where a store says. */
  store({ value, output, strides, offset }: Store): void {
    const { shader, position: { coordinates, laneAxis, width } } = this;
    const buffer = this.outputs[output];
    const { dtype } = buffer;
    const address = addressOf(shader, coordinates, strides, offset);
    if (width === 1 || strides[laneAxis] === 0) {
      shader.add(shader.store(buffer, dtype, address, this.value(value).name, 1));
    } else if (adjacent(strides, offset, laneAxis) && shader.aligned(buffer, dtype)) {
      shader.add(shader.store(buffer, dtype, address, this.wide(value, 4), 4));
    } else {
      const four = shader.let(this.wide(value, 4));
      const at = shader.let(address, "i");
      const stride = shader.num(strides[laneAxis]);
      for (let k = 0; k < 4; k++) {
        shader.add(shader.store(buffer, dtype, `${at} + ${k}u * ${stride}`, `${four}[${k}]`, 1));
      }
    }
  }
}

/** A value at a width of at least its own. */
export function widen({ name, width: own }: Value, dtype: DType, width: Width): string {
  return own === width ? name : `${typeName(laneOf(dtype), width)}(${name})`;
}

/** Whether each store fills its buffer from start to end, so that up to three elements past it may be written. */
function fillsBuffers(context: Context, stores: readonly Store[], outputs: readonly number[]): boolean {
  return stores.every(({ output, strides, offset }) =>
    strides[0] === 1 && offset === 0 && context.soleWriter(outputs[output]) &&
    context.buffer(outputs[output]).place.kind !== "slice"
  );
}

/** How many neighbours of a map are computed at once. */
function widthOf(context: Context, { outer, stores }: Region, outputs: readonly number[]): Width {
  if (outer.length === 0) return 1;
  if (outer.at(-1)! % 4 === 0) return 4;
  return outer.length === 1 && fillsBuffers(context, stores, outputs) ? 4 : 1;
}

/** Statements for one place (or four) of a map. `result` is what `result` instructions read. */
export function emitMap(
  shader: Shader,
  region: Region,
  inputs: readonly number[],
  outputs: readonly number[],
  coordinates: readonly string[],
  result: Value | null,
  width: Width,
): void {
  const buffers = (numbers: readonly number[]) => numbers.map((number) => shader.context.buffer(number));
  const position = { coordinates, laneAxis: region.outer.length - 1, width };
  const evaluator = new Evaluator(shader, region, buffers(inputs), buffers(outputs), position);
  if (result) region.body.forEach((instr, i) => instr.kind === "result" && evaluator.set(i, result));
  for (const store of region.stores) evaluator.value(store.value);
  for (const store of region.stores) evaluator.store(store);
}

/** The kernel of a map: one invocation for each place, or for each four. */
export function lowerMap(step: RegionStep, context: Context): Kernel[] {
  const { region, inputs, outputs } = step;
  const count = size(region.outer);
  if (count === 0) return [];
  const shader = new Shader(step.name, context);
  const width = widthOf(context, region, outputs);
  const { index, groups } = shader.linear(Math.ceil(count / width));
  emitMap(shader, region, inputs, outputs, coordinatesOf(shader, index, region.outer, width), null, width);
  return [shader.finish(groups)];
}
