/**
 * Tenon: train, save and serve neural networks with nothing but `deno run`.
 *
 * ```ts
 * import * as tn from "@tenon/ml";
 *
 * await tn.use("cpu");
 * const loss = (w: tn.Tensor) => tn.sum(tn.square(tn.sub(w, 3)));
 * console.log(await tn.grad(loss)(tn.tensor([1, 2])).array()); // [-4, -2]
 * ```
 *
 * @module
 */
import { registerBackend } from "./core/backend.ts";

// a backend's code is loaded when it is first asked for
registerBackend("webgpu", async () => (await import("./backends/webgpu/mod.ts")).createWebgpu());
registerBackend("wasm", async () => (await import("./backends/wasm/mod.ts")).createWasm());
registerBackend("cpu", async () => (await import("./backends/cpu/mod.ts")).createCpu());

// Devices
export {
  available,
  type Backend,
  type BackendFactory,
  type Choice,
  type Executable,
  type Kernel,
  type KernelCall,
  type KernelTable,
  type KernelTime,
  registerBackend,
  use,
  type View,
} from "./core/backend.ts";
export { debug, type DebugOptions, type Memory, memory, resetPeak, scope } from "./core/scope.ts";
export * from "./core/errors.ts";
export type * from "./core/program.ts";

// Tensors
export type { DType, TypedArray } from "./core/dtype.ts";
export type { Shape, Spec } from "./core/shape.ts";
export { type Nested, Tensor, type TensorLike } from "./core/tensor.ts";

// Transforms
export type { CompileOptions } from "./transforms/call.ts";
export { compile } from "./transforms/compile.ts";
export { checkpoint } from "./transforms/checkpoint.ts";
export { type CustomVjp, customVjp } from "./transforms/custom_vjp.ts";
export {
  grad,
  type GradOptions,
  type Grads,
  jvp,
  type Loss,
  stopGradient,
  valueAndGrad,
  vjp,
} from "./transforms/grad.ts";
export { inspect, type KernelReport, type Profile, profile, type Report } from "./transforms/inspect.ts";
export { gru, lstm, type RecurrentOptions, rnn } from "./transforms/recurrent.ts";
export { scan, type ScanOptions } from "./transforms/scan.ts";
export { vmap, type VmapOptions } from "./transforms/vmap.ts";

// Trees
export * as tree from "./core/tree.ts";

// Ops, and what new ones are made with
export * from "./ops/mod.ts";
export {
  bind,
  bindAll,
  type Fusion,
  type Op,
  type Outputs,
  type Tuple,
  type ViewMap,
  type VjpCall,
} from "./core/op.ts";
export { BINARY, type ReduceOp, type ScalarOp, UNARY } from "./core/scalar.ts";

// Training
export * from "./train/mod.ts";
