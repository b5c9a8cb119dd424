/**
 * Reading and writing [safetensors](https://github.com/huggingface/safetensors#format): tensors by name in one file.
 *
 * ```text
 *  8 bytes        N bytes                                              the rest
 *  N (u64, LE) │ {"name":{"dtype":"F32","shape":[2,3],            │ elements of all tensors, row-major,
 *              │  "data_offsets":[begin,end]}, ...} and spaces    │ little-endian, without holes
 * ```
 *
 * Offsets count from the end of the header; `__metadata__` holds strings by name.
 *
 * @module
 */
import type { DType, TypedArray } from "../core/dtype.ts";
import { ArgumentError, FormatError } from "../core/errors.ts";
import { size } from "../core/shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { tensor } from "../ops/create.ts";
import { FORMATS } from "./safetensors_dtypes.ts";
import { type Entry, parseHeader } from "./safetensors_header.ts";
import { fromNames, toNames } from "./names.ts";

export { fromNames, toNames };

/** Text that travels with the tensors. */
export type Metadata = Readonly<Record<string, string>>;

/** What a file holds. */
export interface Safetensors {
  /** Tensors by the names they have in the file, in the order of their data. */
  readonly tensors: Record<string, Tensor>;
  /** The same as a tree: `blocks.0.norm1.scale` is at `.blocks[0].norm1.scale`. See {@linkcode fromNames}. */
  readonly tree: unknown;
  /** Text that the file holds; empty if none. */
  readonly metadata: Metadata;
}

/** How to read. */
export interface ReadOptions {
  /** Name of the backend the tensors go to; the one in use by default. */
  readonly backend?: string;
}

/** What to write besides the tensors. */
export interface WriteOptions {
  /** Text to write along. */
  readonly metadata?: Metadata;
}

/** What each dtype is called in a file. */
const NAMES: Readonly<Record<DType, string>> = { f32: "F32", f16: "F16", i32: "I32", u32: "U32", bool: "BOOL" };

/** The header and the order in which tensors follow it. */
function encodeHeader(tree: unknown, metadata?: Metadata): { header: Uint8Array; tensors: Tensor[] } {
  // Widest elements first, so that every tensor begins at a multiple of its element size.
  const width = ({ dtype }: Tensor) => FORMATS[NAMES[dtype]].bytes;
  const entries = Object.entries(toNames<Tensor>(tree)).sort(([, a], [, b]) => width(b) - width(a));
  const fields: [string, unknown][] = metadata ? [["__metadata__", metadata]] : [];
  let end = 0;
  for (const [name, value] of entries) {
    if (name === "__metadata__") throw new ArgumentError('Cannot write a tensor named "__metadata__": it is reserved');
    const begin = end;
    end += value.size * width(value);
    fields.push([name, { dtype: NAMES[value.dtype], shape: value.shape, data_offsets: [begin, end] }]);
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(fields)));
  const padded = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + padded).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(json, 8);
  return { header, tensors: entries.map(([, value]) => value) };
}

/** The bytes of a tensor as the file has them. */
async function encodeData(tensor: Tensor): Promise<Uint8Array<ArrayBuffer>> {
  const { buffer, byteOffset, byteLength } = await tensor.data();
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

/**
 * Tensors (a pytree, or a record by name) as the bytes of a safetensors file.
 *
 * @throws {ArgumentError} If two leaves of the tree get the same name.
 */
export async function encodeSafetensors(
  tree: unknown,
  { metadata }: WriteOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { header, tensors } = encodeHeader(tree, metadata);
  const parts = [header, ...await Promise.all(tensors.map(encodeData))];
  const bytes = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/**
 * Writes tensors (a pytree, or a record by name) to a safetensors file.
 *
 * The file appears complete or not at all: it is written under another name beside `path`, then renamed.
 *
 * @throws {ArgumentError} If two leaves of the tree get the same name.
 * @example
 * ```ts
 * import { tensor, use } from "@tenon/ml";
 * import { readSafetensors, writeSafetensors } from "@tenon/ml/io/safetensors";
 * import { assertEquals } from "@std/assert";
 *
 * await use("cpu");
 * const path = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await writeSafetensors(path, { layers: [{ weight: tensor([[1, 2], [3, 4]]) }] }, { metadata: { epoch: "3" } });
 *
 * const { tensors, metadata } = await readSafetensors(path);
 * assertEquals(await tensors["layers.0.weight"].array(), [[1, 2], [3, 4]]);
 * assertEquals(metadata.epoch, "3");
 * await Deno.remove(path);
 * ```
 */
export async function writeSafetensors(path: string | URL, tree: unknown, options: WriteOptions = {}): Promise<void> {
  const { header, tensors } = encodeHeader(tree, options.metadata);
  const name = `${path}.${crypto.randomUUID()}.tmp`;
  const temporary = path instanceof URL ? new URL(name) : name;
  try {
    const file = await Deno.open(temporary, { write: true, createNew: true });
    try {
      await writeAll(file, header);
      for (const value of tensors) await writeAll(file, await encodeData(value));
      await file.syncData(); // before the new name can be seen
    } finally {
      file.close();
    }
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
}

/** Elements of one tensor as numbers of a dtype that we have. */
function decodeData(data: Uint8Array<ArrayBuffer>, { name, dtype, shape }: Entry): [TypedArray, DType] {
  const format = FORMATS[dtype];
  const count = size(shape);
  const aligned = data.byteOffset % format.bytes === 0 ? data : data.slice();
  return [format.decode(aligned.buffer, aligned.byteOffset, count, name), format.dtype];
}

/**
 * Tensors out of the bytes of a safetensors file.
 *
 * `F32 F16 I32 U32 BOOL` are read as they are. `BF16` becomes f32 exactly and `F64` becomes f32 rounded to nearest;
 * `U8 I8 U16 I16` become i32, and `I64 U64` become i32 if all values fit.
 *
 * @throws {FormatError} If the bytes are not a safetensors file: truncated, with holes or overlaps, of unknown dtypes...
 */
export function decodeSafetensors(bytes: Uint8Array, { backend }: ReadOptions = {}): Safetensors {
  const { entries, metadata, dataStart } = parseHeader(bytes);
  const tensors: Record<string, Tensor> = Object.create(null);
  const read = (entry: Entry): void => {
    const data = bytes.subarray(dataStart + entry.begin, dataStart + entry.end) as Uint8Array<ArrayBuffer>;
    const [values, dtype] = decodeData(data, entry);
    tensors[entry.name] = tensor(values, { shape: entry.shape, dtype, backend });
  };
  try {
    entries.forEach(read);
  } catch (error) {
    for (const made of Object.values(tensors)) made.dispose();
    throw error;
  }
  return {
    tensors,
    metadata,
    get tree() {
      return fromNames(tensors);
    },
  };
}

/**
 * Reads a safetensors file, by path or URL of the file system; see {@linkcode decodeSafetensors} for the dtypes.
 *
 * @throws {FormatError} If it is not a safetensors file.
 * @throws {Deno.errors.NotFound} If there is no such file.
 */
export async function readSafetensors(path: string | URL, options: ReadOptions = {}): Promise<Safetensors> {
  const bytes = await Deno.readFile(path);
  try {
    return decodeSafetensors(bytes, options);
  } catch (error) {
    if (error instanceof FormatError) throw new FormatError(`${error.message} (${path})`);
    throw error;
  }
}
