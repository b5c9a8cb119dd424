/**
 * Bytes and text by path or URL.
 *
 * @module
 */
import { FormatError } from "../../core/errors.ts";

/** A path, a URL (`file:`, `http:`, `https:`, `data:`), or the bytes themselves. */
export type Source = string | URL | Uint8Array;

/** What to call a source in a message. */
export function nameOf(source: Source): string {
  return source instanceof Uint8Array ? `${source.length} bytes` : String(source);
}

/** Runs `read`; a {@linkcode FormatError} that it throws gets to say which source is wrong. */
export function named<T>(source: Source, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof FormatError) throw new FormatError(`Cannot read ${nameOf(source)}: ${error.message}`);
    throw error;
  }
}

/**
 * All bytes of a source; those of a gzip file come uncompressed.
 *
 * @throws {Error} That says which source cannot be read, and why.
 */
export async function readBytes(source: Source): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const bytes = source instanceof Uint8Array ? source : await load(source);
    return (isGzip(bytes) ? await gunzip(bytes) : bytes) as Uint8Array<ArrayBuffer>;
  } catch (error) {
    const absent = typeof Deno !== "undefined" && error instanceof Deno.errors.NotFound;
    const reason = absent ? "there is no such file" : (error as Error).message;
    throw new Error(`Cannot read ${nameOf(source)}: ${reason}`, { cause: error });
  }
}

async function load(source: string | URL): Promise<Uint8Array> {
  if (!/^(https?|data|blob):/.test(String(source)) && typeof Deno !== "undefined") {
    return await Deno.readFile(/^file:/.test(String(source)) ? new URL(source) : source);
  }
  const response = await fetch(source);
  if (!response.ok) throw new Error(`the server answers ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

async function gunzip(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * The text of a source, in UTF-8; a byte order mark is left out.
 *
 * @throws {Error} That says which source cannot be read, and why.
 * @example
 * ```ts
 * import { readText } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(await readText("data:text/plain,Call me Ishmael."), "Call me Ishmael.");
 * ```
 */
export async function readText(source: Source): Promise<string> {
  return new TextDecoder().decode(await readBytes(source));
}
