/**
 * The errors of the toolkit. Every message says what was attempted, with which values, and why it failed.
 *
 * @module
 */

/** Thrown when shapes do not fit together. */
export class ShapeError extends RangeError {
  /** `"ShapeError"`. */
  override name = "ShapeError";
}

/** Thrown when an element type is not what an op needs. */
export class DTypeError extends TypeError {
  /** `"DTypeError"`. */
  override name = "DTypeError";
}

/** Thrown when an option or argument has a value that makes no sense. */
export class ArgumentError extends TypeError {
  /** `"ArgumentError"`. */
  override name = "ArgumentError";
}

/** Thrown when a backend is unknown, unavailable, or mixed with another one. */
export class BackendError extends Error {
  /** `"BackendError"`. */
  override name = "BackendError";
}

/** Thrown when a backend has no kernel for a primitive op. */
export class MissingKernelError extends TypeError {
  /** `"MissingKernelError"`. */
  override name = "MissingKernelError";
}

/** Thrown when a device stops answering: its tensors are lost. */
export class DeviceLostError extends Error {
  /** `"DeviceLostError"`. */
  override name = "DeviceLostError";
}

/** Thrown when the value of a tensor that only exists inside a traced function is asked for. */
export class TraceError extends TypeError {
  /** `"TraceError"`. */
  override name = "TraceError";
}

/** Thrown when a disposed tensor is used. */
export class DisposedError extends TypeError {
  /** `"DisposedError"`. */
  override name = "DisposedError";
}

/** Thrown by `debug({ checkNumerics: true })` at the first NaN or infinity. */
export class NumericsError extends RangeError {
  /** `"NumericsError"`. */
  override name = "NumericsError";
}

/** Thrown when a file or message is not what its format says. */
export class FormatError extends Error {
  /** `"FormatError"`. */
  override name = "FormatError";
}
