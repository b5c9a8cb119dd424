/**
 * Elementwise ops: a function of one, two or three numbers, applied at every place, with NumPy's broadcasting.
 *
 * Each is a row of the scalar table (`core/scalar.ts`), so backends fuse them at will. Numbers stand for scalar tensors of
 * the other operand's dtype; two tensors must agree in dtype.
 *
 * @module
 */
export * from "./arithmetic.ts";
export * from "./compare.ts";
export * from "./exponential.ts";
export * from "./logic.ts";
export * from "./powers.ts";
export * from "./rounding.ts";
export * from "./select.ts";
export * from "./trigonometry.ts";
