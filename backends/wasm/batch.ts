/**
 * Batch axes: the same work at places that are some bytes apart.
 *
 * @module
 */
import type { Func, Int } from "./assembler.ts";
import { i32 } from "./instructions.ts";

/**
 * Moves `pointers` from the first batch to batch `index`, a variable that is used up. The arguments tell the size of
 * each axis, `batch0`, `batch1`, ..., and the bytes that a pointer `p` moves along it, `pBatch0`, `pBatch1`, ...
 */
export function movePointers(
  f: Func,
  args: Readonly<Record<string, Int>>,
  axes: number,
  pointers: Readonly<Record<string, Int>>,
  index: Int,
): void {
  for (let axis = axes - 1; axis >= 0; axis--) {
    const at = f.let(axis === 0 ? index : i32.rem_u(index, args[`batch${axis}`]));
    if (axis > 0) f.set(index, i32.div_u(index, args[`batch${axis}`]));
    for (const [name, pointer] of Object.entries(pointers)) {
      f.increase(pointer, i32.mul(at, args[`${name}Batch${axis}`]));
    }
  }
}
