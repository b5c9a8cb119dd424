/**
 * What an op is, and `bind`: the single point every operation passes through.
 *
 * ```text
 *  bind ─> infer ─> [trace: record a node]  or  [run: kernel | compiled program | body] ─> [tapes: record a step]
 * ```
 *
 * @module
 */
import { type Backend, currentBackend, nameBeside } from "./backend.ts";
import { BackendError, DTypeError, MissingKernelError } from "./errors.ts";
import { activeTrace } from "./graph.ts";
import { runProgram } from "./eager.ts";
import type { ReduceOp, ScalarOp } from "./scalar.ts";
import { assertFinite, awaitNumerics, checksNumerics, scope } from "./scope.ts";
import { size, type Spec } from "./shape.ts";
import { isFloat } from "./dtype.ts";
import { recordStep, withoutTapes } from "./tape.ts";
import { allocate, Tensor } from "./tensor.ts";

/** A fixed-length tuple of `T`; any length for `number`. */
export type Tuple<N extends number, T> = N extends 0 ? readonly []
  : N extends 1 ? readonly [T]
  : N extends 2 ? readonly [T, T]
  : N extends 3 ? readonly [T, T, T]
  : readonly T[];

/** `T` itself for one output, a tuple for several. */
export type Outputs<M extends number, T> = M extends 1 ? T : Tuple<M, T>;

/** How a backend's program may see a view: element `(i, j, ...)` of the output lies at `offset + i·strides[0] + ...`. */
export interface ViewMap {
  /** In elements, one an axis; 0 repeats, negative runs backwards. */
  readonly strides: readonly number[];
  /** In elements. */
  readonly offset: number;
}

/**
 * What fusion knows about a primitive; an op without it stays whole.
 * `view` gets the input's strides and offset and returns the output's, or null where strides cannot express it.
 */
export type Fusion<A> =
  | { readonly kind: "scalar"; readonly op: ScalarOp }
  | { readonly kind: "reduce"; readonly op: ReduceOp; axes(attrs: A): readonly number[] }
  | { readonly kind: "const"; value(attrs: A): number }
  | { readonly kind: "index"; axis(attrs: A): number }
  /** The inputs lie side by side in the output, each from its own start; `fill` (or null) is everywhere else. */
  | {
    readonly kind: "assemble";
    fill(attrs: A): number | null;
    starts(inputs: readonly Spec[], attrs: A): readonly (readonly number[])[];
  }
  | { readonly kind: "view"; view(input: Spec, map: ViewMap, attrs: A, output: Spec): ViewMap | null };

/** Everything the toolkit knows about an operation except how to compute it. N inputs, attributes A, M outputs. */
export interface Op<N extends number, A, M extends number = 1> {
  /** In camelCase; what backends' kernels and error messages go by. */
  readonly name: string;
  /** Validates the inputs and returns the output's shape and dtype. */
  infer(inputs: Tuple<N, Spec>, attrs: A): Outputs<M, Spec>;
  /** One gradient per input, `null` where there is none. Written with public ops. Without it, `body` is differentiated. */
  vjp?(call: VjpCall<N, A, M>): Tuple<N, Tensor | null>;
  /** For a composite: its meaning in other ops. */
  body?(inputs: Tuple<N, Tensor>, attrs: A): Outputs<M, Tensor>;
  /** For a primitive that can be fused. */
  readonly fusion?: Fusion<A>;
  /** The output holds the input's elements in the input's order (reshape): memory is shared, nothing runs. */
  readonly alias?: boolean;
  /** An input whose memory the output may take: the kernel then writes only what is different. */
  readonly inPlace?: number;
  /** Not differentiable: the output is a constant to every gradient. */
  readonly constant?: boolean;
}

// deno-lint-ignore no-explicit-any -- ops of every arity and attribute type meet in tapes, graphs and tables
export type AnyOp = Op<any, any, any>;

/** What a gradient rule may look at. `grad` has the output's shape. */
export interface VjpCall<N extends number, A, M extends number = 1> {
  /** What the op was applied to. */
  readonly inputs: Tuple<N, Tensor>;
  /** What it returned. */
  readonly output: Outputs<M, Tensor>;
  /** Gradient of the loss by the output. */
  readonly grad: Outputs<M, Tensor>;
  /** The attributes it was applied with. */
  readonly attrs: A;
  /** Which inputs' gradients will be used; a rule may save the work for the others and return `null`. */
  readonly wanted: Tuple<N, boolean>;
  /** Which outputs the loss depends on; `grad` is zeros for the others. */
  readonly arrived: Tuple<M, boolean>;
}

/** One value or several, as an array: the other form of {@linkcode Outputs}. */
export function asArray<T>(outputs: T | readonly T[]): readonly T[] {
  return Array.isArray(outputs) ? outputs : [outputs as T];
}

/** The backend that all inputs live on; for ops without inputs the trace's, `home`, or the current one. */
function commonBackend(op: AnyOp, inputs: readonly Tensor[], home: Backend | undefined): Backend {
  if (inputs.length === 0) return activeTrace()?.backend ?? home ?? currentBackend();
  const [{ backend }] = inputs;
  for (const input of inputs) {
    if (input.backend !== backend) {
      throw new BackendError(
        `Cannot compute ${op.name} of tensors on ${backend.name} and ${nameBeside(backend, input.backend)}: ` +
          `move one with \`await t.to("${backend.name}")\``,
      );
    }
  }
  return backend;
}

/** Outputs that are tensors of their own: none that is `known` returned as it is, nor one tensor twice. */
export function distinct(outputs: readonly Tensor[], known: readonly Tensor[]): Tensor[] {
  const taken = new Set(known);
  return outputs.map((y) => {
    const own = taken.has(y) ? new Tensor(y, y.backend, y.storage) : y;
    taken.add(own);
    return own;
  });
}

/** Runs an op's body as ordinary ops, unseen by tapes; only its outputs survive. */
function runBody(op: AnyOp, inputs: readonly Tensor[], attrs: unknown): readonly Tensor[] {
  return withoutTapes(() => scope(() => distinct(asArray<Tensor>(op.body!(inputs, attrs)), inputs)));
}

function execute(backend: Backend, op: AnyOp, inputs: readonly Tensor[], attrs: unknown, specs: readonly Spec[]) {
  if (op.alias) return [new Tensor(specs[0], backend, inputs[0].storage)];
  const kernel = backend.kernels[op.name];
  if (kernel) {
    const outputs = specs.map((spec) => allocate(spec, backend));
    if (specs.every((spec) => size(spec.shape) === 0)) return outputs;
    const view = (tensor: Tensor) => ({ shape: tensor.shape, dtype: tensor.dtype, buffer: tensor.storage.buffer });
    kernel({ inputs: inputs.map(view), outputs: outputs.map(view), attrs });
    return outputs;
  }
  if (backend.compile) return runProgram(backend, op, inputs, attrs, specs);
  if (op.body) return runBody(op, inputs, attrs);
  throw new MissingKernelError(`Cannot run "${op.name}" on backend "${backend.name}": it has no such kernel`);
}

function checkFinite(op: AnyOp, outputs: readonly Tensor[]): void {
  for (const { dtype, storage, size, backend } of outputs) {
    if (!isFloat(dtype) || storage.bytes === 0) continue;
    const values = (buffer: ArrayBuffer) => dtype === "f16" ? new Float16Array(buffer) : new Float32Array(buffer);
    if (backend.readSync) {
      assertFinite(op.name, values(backend.readSync(storage.buffer, storage.bytes)).subarray(0, size));
    } else {
      const read = backend.read(storage.buffer, storage.bytes);
      awaitNumerics(read.then((buffer) => assertFinite(op.name, values(buffer).subarray(0, size))));
    }
  }
}

/** Applies an op with any number of outputs; `home` is where an op without inputs runs. */
export function bindAll<N extends number, A, M extends number>(
  op: Op<N, A, M>,
  inputs: Tuple<N, Tensor>,
  attrs: A,
  home?: Backend,
): Tensor[] {
  const operands: readonly Tensor[] = inputs;
  const backend = commonBackend(op, operands, home);
  const specs = asArray<Spec>(op.infer(inputs as Tuple<N, Spec>, attrs) as Spec | readonly Spec[]);
  const trace = activeTrace();
  const outputs = trace ? trace.record(op, operands, attrs, specs) : [...execute(backend, op, operands, attrs, specs)];
  if (checksNumerics() && !trace) checkFinite(op, outputs);
  if (!op.constant) recordStep(op, operands, attrs, outputs);
  return outputs;
}

/**
 * Applies an op: infer, run (or record), and let the tapes know. With it an op of your own stands level with ours.
 *
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertEquals } from "@std/assert";
 *
 * await tn.use("cpu");
 * // a composite: its body says what it is, fusion makes one kernel of it, and its gradient is that of the body
 * const swishOp: tn.Op<1, { readonly beta: number }> = {
 *   name: "swish",
 *   infer: ([x]) => x,
 *   body: ([x], { beta }) => tn.mul(x, tn.sigmoid(tn.mul(x, beta))),
 * };
 * const swish = (x: tn.Tensor, beta = 1) => tn.bind(swishOp, [x], { beta });
 * assertEquals(await swish(tn.tensor([0])).array(), [0]);
 * assertEquals(await tn.grad((x: tn.Tensor) => tn.sum(swish(x)))(tn.tensor([0])).array(), [0.5]);
 * ```
 */
export function bind<N extends number, A>(op: Op<N, A>, inputs: Tuple<N, Tensor>, attrs: A, home?: Backend): Tensor {
  return bindAll(op, inputs, attrs, home)[0];
}

/** Throws unless both have the same dtype. */
export function requireSameDType(action: string, a: Spec, b: Spec): void {
  if (a.dtype !== b.dtype) {
    throw new DTypeError(`Cannot ${action} ${a.dtype} and ${b.dtype}: cast one of them`);
  }
}
