/**
 * Tensors out of nothing: a constant, and coordinates.
 *
 * @module
 */
import type { Kernel, KernelTable } from "../../core/backend.ts";
import { stridesOf } from "../../core/shape.ts";
import type { FullAttrs, IotaAttrs } from "../../ops/create.ts";
import { type Buffer, elements } from "./memory.ts";

const full: Kernel<Buffer, FullAttrs> = ({ outputs: [y], attrs: { value } }) => {
  elements(y).fill(value);
};

const iota: Kernel<Buffer, IotaAttrs> = ({ outputs: [y], attrs: { shape, axis } }) => {
  const step = stridesOf(shape)[axis], n = shape[axis];
  const to = elements(y);
  for (let i = 0; i < to.length; i++) to[i] = Math.floor(i / step) % n;
};

/** Kernels without inputs. */
export const create: KernelTable<Buffer> = { full, iota };
