/**
 * Making tensors: from data, from a value, from a rule.
 *
 * @module
 */
import { type Backend, currentBackend, runningBackend } from "../core/backend.ts";
import { type DType, dtypeOf, DTYPES, toRawArray, type TypedArray } from "../core/dtype.ts";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.ts";
import { activeTrace } from "../core/graph.ts";
import { bind, type Op } from "../core/op.ts";
import { type Shape, show, size, type Spec, validateShape } from "../core/shape.ts";
import { allocate, type Nested, type Tensor } from "../core/tensor.ts";

/** Where a new tensor lives and what it holds. */
export interface CreateOptions {
  /** Element type; `f32` unless the function says otherwise. */
  readonly dtype?: DType;
  /** Name of a backend that is running already; the one in use by default. */
  readonly backend?: string;
}

/** How {@linkcode tensor} lays out its data. */
export interface TensorOptions extends CreateOptions {
  /** The shape; by default that of the nested arrays, or one axis for a typed array. */
  readonly shape?: Shape;
}

/** Attributes of {@linkcode fullOp}. */
export interface FullAttrs {
  readonly shape: Shape;
  readonly value: number;
  readonly dtype: DType;
}

/** The same value everywhere. */
export const fullOp: Op<0, FullAttrs> = {
  name: "full",
  constant: true,
  fusion: { kind: "const", value: ({ value }) => value },
  infer: (_, { shape, dtype }) => madeSpec(shape, dtype),
};

/** Attributes of {@linkcode iotaOp}. */
export interface IotaAttrs {
  readonly shape: Shape;
  readonly axis: number;
  readonly dtype: DType;
}

/** Every element's coordinate along one axis. */
export const iotaOp: Op<0, IotaAttrs> = {
  name: "iota",
  constant: true,
  fusion: { kind: "index", axis: ({ axis }) => axis },
  infer: (_, { shape, dtype }) => madeSpec(shape, dtype),
};

function madeSpec(shape: Shape, dtype: DType): Spec {
  validateShape("make a tensor of shape", shape);
  if (!DTYPES.includes(dtype)) {
    throw new DTypeError(`Cannot make a tensor of dtype "${dtype}": it must be one of ${DTYPES.join(", ")}`);
  }
  return { shape, dtype };
}

/** The backend a new tensor goes to. */
function homeOf(name: string | undefined): Backend {
  return name === undefined ? activeTrace()?.backend ?? currentBackend() : runningBackend(name);
}

/** A tensor holding `raw`, which is laid out as `spec` wants it. */
function upload(raw: ArrayBufferView, spec: Spec, backend: Backend): Tensor {
  const tensor = allocate(spec, backend);
  if (raw.byteLength > 0) backend.write(tensor.storage.buffer, raw);
  return tensor;
}

/**
 * A scalar tensor: a constant of the function being traced, or four bytes on `backend`.
 *
 * It is written rather than computed, so that no kernel is built for each new value.
 */
export function scalar(value: number, dtype: DType, backend: Backend): Tensor {
  if (activeTrace()) return bind(fullOp, [], { shape: [], value, dtype });
  return upload(toRawArray([value], dtype), { shape: [], dtype }, backend);
}

/** Every element's coordinate along `axis`. */
export function iota(shape: Shape, axis: number, dtype: DType = "i32", backend?: Backend): Tensor {
  return bind(iotaOp, [], { shape, axis, dtype }, backend);
}

function isData(data: unknown): data is Nested | TypedArray {
  return typeof data === "number" || typeof data === "boolean" || Array.isArray(data) || ArrayBuffer.isView(data);
}

/** Shape of nested arrays, after the first element of each. */
function nestedShape(data: Nested): number[] {
  const shape: number[] = [];
  for (let level: unknown = data; Array.isArray(level); level = level[0]) shape.push(level.length);
  return shape;
}

/** Elements of nested arrays in row-major order; throws where an array does not have the length of its siblings. */
function flattenNested(data: Nested, shape: Shape): (number | boolean)[] {
  const flat: (number | boolean)[] = [];
  const walk = (level: unknown, axis: number) => {
    if (axis === shape.length) {
      if (typeof level !== "number" && typeof level !== "boolean") {
        throw new ArgumentError(`Cannot make a tensor: element ${flat.length} is ${describe(level)}, not a number`);
      }
      flat.push(level);
      return;
    }
    if (!Array.isArray(level) || level.length !== shape[axis]) {
      const found = Array.isArray(level) ? `${level.length} entries` : describe(level);
      throw new ShapeError(`Cannot make a tensor of ragged arrays: expected ${shape[axis]} entries, found ${found}`);
    }
    for (const item of level) walk(item, axis + 1);
  };
  walk(data, 0);
  return flat;
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** The shape asked for must hold what there is. */
function requireSize(shape: Shape, count: number): void {
  if (size(shape) !== count) {
    throw new ShapeError(
      `Cannot make a tensor of shape ${show(shape)} from ${count} elements: it holds ${size(shape)}`,
    );
  }
}

/**
 * A tensor of the given data.
 *
 * @param data A number or boolean, nested arrays of them, or a typed array (one axis unless `shape` is given).
 * @param options `shape` gives the shape; `dtype` defaults to `f32` for numbers, `bool` for booleans, and to the type of
 * a typed array's elements (`Float64Array` becomes `f32`, narrow integers `i32`).
 * @throws {ShapeError} If nested arrays are ragged, or `shape` holds another number of elements.
 * @throws {ArgumentError} If `data` is none of those.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(tn.tensor([[1, 2, 3], [4, 5, 6]]).shape, [2, 3]);
 * assertEquals(tn.tensor(new Int32Array(6), { shape: [3, 2] }).dtype, "i32");
 * ```
 */
export function tensor(
  data: Nested | TypedArray | ArrayBufferView,
  options: TensorOptions = {},
): Tensor {
  if (!isData(data) || data instanceof DataView || data instanceof BigInt64Array || data instanceof BigUint64Array) {
    throw new ArgumentError(`Cannot make a tensor from ${Object.prototype.toString.call(data)}: give numbers`);
  }
  const backend = homeOf(options.backend);
  if (ArrayBuffer.isView(data)) {
    const elements = data as TypedArray;
    const shape = options.shape ?? [elements.length];
    const spec = madeSpec(shape, options.dtype ?? dtypeOf(elements));
    requireSize(shape, elements.length);
    return upload(toRawArray(elements, spec.dtype), spec, backend);
  }
  const found = nestedShape(data);
  const flat = flattenNested(data, found);
  const spec = madeSpec(options.shape ?? found, options.dtype ?? dtypeOf(flat));
  requireSize(spec.shape, flat.length);
  return upload(toRawArray(flat, spec.dtype), spec, backend);
}

/**
 * A tensor with `value` in every place.
 *
 * @param value A number, or a boolean (whose dtype defaults to `bool`).
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.full([2], 7, { dtype: "i32" }).array(), [7, 7]);
 * ```
 */
export function full(shape: Shape, value: number | boolean, options: CreateOptions = {}): Tensor {
  const { dtype = typeof value === "boolean" ? "bool" : "f32" } = options;
  return filled(shape, toElement(Number(value), dtype), dtype, homeOf(options.backend));
}

function filled(shape: Shape, value: number, dtype: DType, backend: Backend): Tensor {
  return bind(fullOp, [], { shape: [...shape], value, dtype }, backend);
}

/** `value` as an element of `dtype` holds it. */
function toElement(value: number, dtype: DType): number {
  if (dtype === "bool") return value ? 1 : 0;
  if ((dtype === "i32" || dtype === "u32") && !Number.isInteger(value)) {
    throw new DTypeError(`Cannot make a tensor of ${dtype} from ${value}: it is not a whole number`);
  }
  return value;
}

/**
 * A tensor of zeros (`false` for bool).
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.zeros([1, 2]).array(), [[0, 0]]);
 * ```
 */
export function zeros(shape: Shape, options: CreateOptions = {}): Tensor {
  return full(shape, 0, options);
}

/**
 * A tensor of ones (`true` for bool).
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.ones([2], { dtype: "bool" }).array(), [true, true]);
 * ```
 */
export function ones(shape: Shape, options: CreateOptions = {}): Tensor {
  return full(shape, 1, options);
}

/**
 * Zeros with the shape, dtype and backend of `x`.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.zerosLike(tn.tensor([1, 2])).array(), [0, 0]);
 * ```
 */
export function zerosLike(x: Tensor): Tensor {
  return filled(x.shape, 0, x.dtype, x.backend);
}

/**
 * Ones with the shape, dtype and backend of `x`.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * assertEquals(await tn.onesLike(tn.tensor([1, 2])).array(), [1, 1]);
 * ```
 */
export function onesLike(x: Tensor): Tensor {
  return filled(x.shape, 1, x.dtype, x.backend);
}

export { arange, type ArangeOptions, eye, type EyeOptions, linspace, type LinspaceOptions } from "./range.ts";
