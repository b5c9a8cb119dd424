/**
 * Scratch memory: what each thread's kernels may use while they run.
 *
 * @module
 */

/** Bytes of scratch memory that each thread has. */
export const SCRATCH_BYTES = 2 << 20;

/**
 * Checks that what a kernel keeps in scratch memory fits into it.
 *
 * @throws {RangeError} If it does not: a mistake in the sizes that the kernel's lowering chose.
 */
export function requireScratch(what: string, bytes: number): void {
  if (bytes <= SCRATCH_BYTES) return;
  throw new RangeError(`Cannot keep ${what} in scratch memory: ${bytes} bytes are more than ${SCRATCH_BYTES}`);
}
