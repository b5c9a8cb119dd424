/**
 * IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist, "File formats").
 *
 * ```text
 *  0 0 type rank │ rank sizes of 4 bytes │ elements in row-major order; everything big-endian
 * ```
 *
 * @module
 */
import { FormatError } from "../../core/errors.ts";
import { show, size } from "../../core/shape.ts";
import type { HostArray, HostData } from "./dataset.ts";
import { named, readBytes, type Source } from "./source.ts";

/** How elements of a type are read: their bytes, and the array that holds them here. */
interface ElementType {
  readonly bytes: number;
  readonly make: (length: number) => HostData;
  readonly read: (view: DataView, offset: number) => number;
}

const ints = (length: number) => new Int32Array(length);
const floats = (length: number) => new Float32Array(length);

/** By the third byte of the file. */
const TYPES: Readonly<Record<number, ElementType>> = {
  0x08: { bytes: 1, make: (length) => new Uint8Array(length), read: (view, at) => view.getUint8(at) },
  0x09: { bytes: 1, make: ints, read: (view, at) => view.getInt8(at) },
  0x0b: { bytes: 2, make: ints, read: (view, at) => view.getInt16(at) },
  0x0c: { bytes: 4, make: ints, read: (view, at) => view.getInt32(at) },
  0x0d: { bytes: 4, make: floats, read: (view, at) => view.getFloat32(at) },
  0x0e: { bytes: 8, make: floats, read: (view, at) => view.getFloat64(at) },
};

/**
 * Reads an IDX file, which may be compressed with gzip. Unsigned bytes stay bytes, other integers become `i32`, and
 * floats `f32`.
 *
 * @throws {FormatError} If it is no IDX file, or not all of one.
 * @throws {Error} If the source cannot be read.
 * @example
 * ```ts
 * import { readIdx } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const file = Uint8Array.of(0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6);
 * const { data, shape } = await readIdx(file);
 * assertEquals([shape, [...data]], [[2, 3], [1, 2, 3, 4, 5, 6]]);
 * ```
 */
export async function readIdx(source: Source): Promise<HostArray> {
  const bytes = await readBytes(source);
  return named(source, () => decodeIdx(bytes));
}

function decodeIdx(bytes: Uint8Array<ArrayBuffer>): HostArray {
  const [zero, zeroAgain, code, rank] = bytes, type = TYPES[code];
  if (zero !== 0 || zeroAgain !== 0 || type === undefined) {
    throw new FormatError("it is no IDX file, which begins with two zeros and the number of a type");
  }
  const start = 4 + 4 * rank, view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < start) throw new FormatError(`truncated: a header of ${start} bytes, ${bytes.length} are there`);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const length = size(shape), expected = start + length * type.bytes;
  if (bytes.length !== expected) {
    const what = bytes.length < expected ? "truncated: " : "";
    throw new FormatError(`${what}shape ${show(shape)} takes ${expected} bytes, ${bytes.length} are there`);
  }
  if (code === 0x08) return { data: bytes.subarray(start), shape };
  const data = type.make(length);
  for (let i = 0; i < length; i++) data[i] = type.read(view, start + i * type.bytes);
  return { data, shape };
}
