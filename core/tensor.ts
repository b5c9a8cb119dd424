/**
 * The tensor: an immutable array living on one backend, or a value inside a traced function.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { backendByName } from "./backend.ts";
import { bytesPerElement, type DType, toUserArray, type TypedArray } from "./dtype.ts";
import { BackendError, DisposedError, ShapeError, TraceError } from "./errors.ts";
import { activeTrace, type Value } from "./graph.ts";
import { adopt, born, died, settleNumerics, type Survivor, userSite } from "./scope.ts";
import { type Shape, show, size, type Spec } from "./shape.ts";

/** A reference-counted piece of a backend's memory: tensors that differ only in shape share one. */
export class Storage {
  refs = 0;
  survivor: Survivor | null = null;
  constructor(readonly backend: Backend, readonly buffer: unknown, readonly bytes: number) {
    this.survivor = born(bytes);
  }
  retain(): this {
    this.refs++;
    return this;
  }
  release(): void {
    if (--this.refs === 0) {
      died(this.bytes, this.survivor);
      if (this.bytes > 0) this.backend.free(this.buffer);
    }
  }
}

const abandoned = new FinalizationRegistry<Storage>((storage) => storage.release());

/** A number stands for a scalar tensor of the other operand's dtype. */
export type TensorLike = Tensor | number | boolean;

/** Nested arrays of numbers or booleans, as deep as a tensor has axes. */
export type Nested = number | boolean | Nested[];

/**
 * An immutable array of numbers on one backend.
 *
 * Ops never consume their inputs. Memory is given back by `using`, by `scope`, or when the tensor is collected.
 */
export class Tensor implements Spec, Disposable {
  /** Sizes of the axes, outermost first. */
  readonly shape: Shape;
  /** Type of the elements. */
  readonly dtype: DType;
  /** Where the elements are. */
  readonly backend: Backend;
  /**
   * The memory, or the value in the function being traced.
   *
   * @internal
   */
  readonly source: Storage | Value;
  #disposed = false;
  #donated = false;

  /**
   * Tensors are made by `tensor`, `zeros` and the ops.
   *
   * @internal
   */
  constructor(spec: Spec, backend: Backend, source: Storage | Value) {
    this.shape = spec.shape;
    this.dtype = spec.dtype;
    this.backend = backend;
    this.source = source;
    if (source instanceof Storage) {
      source.retain();
      abandoned.register(this, source, this);
      if (!activeTrace()) adopt(this); // what a function makes while it is traced belongs to its program
    }
  }

  /** Number of elements. */
  get size(): number {
    return size(this.shape);
  }

  /** Number of axes. */
  get rank(): number {
    return this.shape.length;
  }

  /**
   * The memory behind this tensor.
   *
   * @internal
   */
  get storage(): Storage {
    if (!(this.source instanceof Storage)) {
      throw new TraceError(
        `Cannot read a traced value: ${this.dtype}${show(this.shape)} ${this.source.origin}, read at ${userSite()}, ` +
          `has no numbers yet; use where() or scan()`,
      );
    }
    if (this.#donated || this.source.refs === 0) {
      throw new DisposedError(`Cannot use a disposed tensor of shape ${show(this.shape)}`);
    }
    return this.source;
  }

  /**
   * Whether it was given back; what was computed with it may still hold the memory.
   *
   * @internal
   */
  get disposed(): boolean {
    return this.#disposed || this.#donated;
  }

  /** The elements in row-major order, once the device is done with them. */
  data(): Promise<TypedArray> {
    return this.#read(this.storage);
  }

  async #read(storage: Storage): Promise<TypedArray> {
    const { dtype, size } = this;
    const bytes = size * bytesPerElement(dtype);
    storage.retain();
    try {
      const buffer = bytes === 0 ? new ArrayBuffer(0) : await storage.backend.read(storage.buffer, bytes);
      await settleNumerics();
      return toUserArray(buffer, dtype, size);
    } finally {
      storage.release();
    }
  }

  /**
   * The elements at once, on a backend that can (`cpu`, `wasm`).
   *
   * @throws {BackendError} Where the device answers later.
   */
  dataSync(): TypedArray {
    const { storage, dtype, size } = this;
    const { backend } = storage;
    if (!backend.readSync) {
      throw new BackendError(
        `Cannot read synchronously from ${backend.name}: the device answers later, use \`await t.data()\``,
      );
    }
    const bytes = size * bytesPerElement(dtype);
    return toUserArray(bytes === 0 ? new ArrayBuffer(0) : backend.readSync(storage.buffer, bytes), dtype, size);
  }

  /**
   * The only element, as a number.
   *
   * @throws {ShapeError} If there is not exactly one.
   */
  item(): Promise<number> {
    if (this.size !== 1) {
      throw new ShapeError(`Cannot take the item of a tensor of shape ${show(this.shape)}: it holds ${this.size}`);
    }
    return this.data().then(([value]) => value);
  }

  /** The elements as nested arrays; booleans for `bool`. */
  array(): Promise<Nested> {
    return this.data().then((data) => this.#nest(data));
  }

  #nest(data: TypedArray): Nested {
    const flat = Array.from<number, number | boolean>(data, this.dtype === "bool" ? Boolean : (value) => value);
    let offset = 0;
    const build = (axis: number): Nested => {
      if (axis === this.rank) return flat[offset++];
      return Array.from({ length: this.shape[axis] }, () => build(axis + 1));
    };
    return build(0);
  }

  /** A copy on another backend. */
  async to(backend: string): Promise<Tensor> {
    const storage = this.storage.retain();
    try {
      const target = await backendByName(backend);
      const copy = allocate(this, target);
      if (storage.bytes > 0) {
        const data = await storage.backend.read(storage.buffer, storage.bytes);
        target.write(copy.storage.buffer, new Uint8Array(data));
      }
      return copy;
    } finally {
      storage.release();
    }
  }

  /** Gives the memory back, unless something else (a gradient, a tensor of another shape) still needs it. */
  dispose(): void {
    if (this.#disposed || !(this.source instanceof Storage)) return;
    this.#disposed = true;
    abandoned.unregister(this);
    this.source.release();
  }

  /**
   * Gives the memory to a program, which may put something else there.
   *
   * @internal
   */
  donate(): void {
    this.dispose();
    this.#donated = true;
  }

  /** Makes `using x = ...` free the tensor at the block's end. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Dtype and shape; values are read with `data()`. */
  toString(): string {
    return `Tensor(${this.dtype}${show(this.shape)}, ${this.backend.name})`;
  }

  /** What `console.log` shows. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }
}

/** A new tensor with memory of its own, contents undefined. */
export function allocate(spec: Spec, backend: Backend): Tensor {
  const bytes = size(spec.shape) * bytesPerElement(spec.dtype);
  return new Tensor(spec, backend, new Storage(backend, bytes === 0 ? null : backend.alloc(bytes), bytes));
}
