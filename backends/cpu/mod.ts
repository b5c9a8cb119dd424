/**
 * The CPU backend: plain loops in JavaScript, written to be read. It is the oracle that other backends are held to.
 *
 * ```text
 *  kernels    create random  elementwise scalar  shape reduce matmul conv pool index sort
 *  loops      memory specialize
 * ```
 *
 * @module
 */
import type { Backend } from "../../core/backend.ts";
import { convolution } from "./conv.ts";
import { create } from "./create.ts";
import { elementwise } from "./elementwise.ts";
import { index } from "./index.ts";
import { matmul } from "./matmul.ts";
import { pool } from "./pool.ts";
import { random } from "./random.ts";
import { reduce } from "./reduce.ts";
import { shape } from "./shape.ts";
import { sort } from "./sort.ts";

/** Makes the CPU backend; it works everywhere. */
export function createCpu(): Backend<ArrayBuffer> {
  return {
    name: "cpu",
    description: "reference loops in JavaScript, 1 thread",
    alloc: (bytes) => new ArrayBuffer(bytes),
    free() {},
    write(buffer, { buffer: source, byteOffset, byteLength }) {
      new Uint8Array(buffer).set(new Uint8Array(source, byteOffset, byteLength));
    },
    read: (buffer, bytes) => Promise.resolve(buffer.slice(0, bytes)),
    readSync: (buffer, bytes) => buffer.slice(0, bytes),
    kernels: {
      ...create,
      ...elementwise,
      ...reduce,
      ...matmul,
      ...convolution,
      ...pool,
      ...shape,
      ...index,
      ...sort,
      ...random,
    },
  };
}
