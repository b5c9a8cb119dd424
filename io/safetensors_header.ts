/**
 * The header of a safetensors file: parsed, and checked against the length of the file.
 *
 * @module
 */
import { FormatError } from "../core/errors.ts";
import { type Shape, show, size } from "../core/shape.ts";
import { FORMATS } from "./safetensors_dtypes.ts";

/** What the header says of one tensor. */
export interface Entry {
  readonly name: string;
  /** A key of `FORMATS`. */
  readonly dtype: string;
  readonly shape: Shape;
  /** Where its bytes begin and end, counted from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

/** What the header says. */
export interface Header {
  /** In the order of the data. */
  readonly entries: readonly Entry[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Where the data begins in the file. */
  readonly dataStart: number;
}

/** The limit that the reference implementation sets. */
const LONGEST_HEADER = 100_000_000;

function fail(reason: string): never {
  throw new FormatError(`Cannot read safetensors: ${reason}`);
}

/** Reads and checks the header: afterwards, every entry's bytes are there and no byte is left over or used twice. */
export function parseHeader(bytes: Uint8Array): Header {
  if (bytes.length < 8) fail(`it has ${bytes.length} bytes, the length of the header alone takes 8`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > LONGEST_HEADER) fail(`its header would have ${length} bytes, more than ${LONGEST_HEADER}`);
  const dataStart = 8 + Number(length);
  if (dataStart > bytes.length) fail(`truncated in the header: ${dataStart} bytes expected, ${bytes.length} found`);

  const { __metadata__, ...fields } = parseJson(bytes.subarray(8, dataStart));
  const entries = Object.entries(fields)
    .map(([name, value]) => parseEntry(name, value))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCoverage(entries, bytes.length - dataStart);
  return { entries, metadata: parseMetadata(__metadata__), dataStart };
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  let text: string, header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (error) {
    fail(`the header is not JSON: ${(error as Error).message}`);
  }
  if (!text.startsWith("{") || !isObject(header)) fail("the header is not a JSON object");
  const seen = new Set<string>();
  for (const name of topLevelKeys(text)) {
    if (seen.has(name)) fail(`two tensors are named "${name}"`);
    seen.add(name);
  }
  return header;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Keys of a JSON object, repeated ones too (`JSON.parse` keeps the last of those and says nothing). */
function topLevelKeys(json: string): string[] {
  const keys: string[] = [];
  let depth = 0, lastString = "";
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (char === "{" || char === "[") depth++;
    else if (char === "}" || char === "]") depth--;
    else if (char === ":" && depth === 1) keys.push(JSON.parse(lastString));
    else if (char === '"') {
      const start = i++;
      while (json[i] !== '"') i += json[i] === "\\" ? 2 : 1;
      lastString = json.slice(start, i + 1);
    }
  }
  return keys;
}

function parseEntry(name: string, value: unknown): Entry {
  const about = `tensor "${name}"`;
  if (!isObject(value)) fail(`${about} is not described by an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(FORMATS, dtype)) {
    fail(`${about} has the dtype ${JSON.stringify(dtype)}, known are ${Object.keys(FORMATS).join(", ")}`);
  }
  if (!isCounts(shape)) fail(`${about} has the shape ${JSON.stringify(shape)}, which is not an array of sizes`);
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    fail(`${about} has the data_offsets ${JSON.stringify(offsets)}, which are not [begin, end]`);
  }
  const [begin, end] = offsets;
  const expected = size(shape) * FORMATS[dtype].bytes;
  if (end - begin !== expected) {
    fail(`${about} of ${dtype}${show(shape)} takes ${expected} bytes, its data_offsets span ${end - begin}`);
  }
  return { name, dtype, shape, begin, end };
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/** The tensors must lie one after the other, from the first byte of the data to the last. */
function checkCoverage(entries: readonly Entry[], bytes: number): void {
  let covered = 0;
  for (const { name, begin, end } of entries) {
    if (begin < covered) {
      fail(`tensor "${name}" begins at byte ${begin}, inside the one before, which ends at ${covered}`);
    }
    if (begin > covered) fail(`there is a hole before tensor "${name}": bytes ${covered} to ${begin} belong to none`);
    covered = end;
  }
  if (covered > bytes) fail(`truncated: the tensors take ${covered} bytes, ${bytes} are there`);
  if (covered < bytes) fail(`the tensors take ${covered} bytes, but ${bytes} are there`);
}

function parseMetadata(value: unknown): Record<string, string> {
  if (value === undefined) return {};
  if (!isObject(value)) fail("__metadata__ is not an object");
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== "string") fail(`__metadata__ "${name}" is not a string`);
  }
  return value as Record<string, string>;
}
