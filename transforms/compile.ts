/**
 * `compile`: a function, gradients and optimizer inside it, as one program that a backend replays.
 *
 * ```text
 *  call ──> signature ──> known? ──yes──> run
 *                           │no
 *                           └─> trace ─> simplify ─> fuse ─> plan ─> backend.compile
 * ```
 *
 * @module
 */
import { zerosLike } from "../ops/create.ts";
import type { Backend, KernelTime } from "../core/backend.ts";
import { ArgumentError, DisposedError, TraceError } from "../core/errors.ts";
import { activeTrace, type Graph, traceGraph, Value } from "../core/graph.ts";
import { type Call, type CompileOptions, difference, homeOf, requireOn, takeApart } from "./call.ts";
import { tensorsOf, vjpFlat } from "./pullback.ts";
import { Lowered } from "../core/lowered.ts";
import { copyOp } from "../core/group.ts";
import { bind, bindAll, distinct } from "../core/op.ts";
import { checksNumerics, scope, userSite } from "../core/scope.ts";
import { show, type Spec } from "../core/shape.ts";
import { isTracked, recordOn, withoutTapes } from "../core/tape.ts";
import type { Tensor } from "../core/tensor.ts";

/** A function for one signature: how to run it, and how to build its result from flat tensors. */
interface Specialization {
  readonly signature: string;
  readonly backend: Backend;
  readonly specs: readonly Spec[];
  readonly graph: Graph;
  readonly captured: readonly Tensor[];
  readonly rebuild: (tensors: readonly Tensor[]) => unknown;
  readonly run: (inputs: readonly Tensor[]) => Tensor[];
  readonly lowered: Lowered | null;
  /** The pullback, compiled when a gradient first passes through. */
  back?: (inputs: readonly Tensor[], seeds: readonly Tensor[]) => Tensor[];
}

/** Runs a graph node by node, for backends that do not lower programs: eager and compiled are then the same kernels. */
function interpret(
  { graph, captured, backend }: Pick<Specialization, "graph" | "captured" | "backend">,
  inputs: readonly Tensor[],
  onNode?: (name: string, start: number) => void,
): Tensor[] {
  return withoutTapes(() =>
    scope(() => {
      const given = [...inputs, ...captured];
      const values = new Map<Value, Tensor>(graph.inputs.map((value, i) => [value, given[i]]));
      for (const { op, attrs, inputs, outputs } of graph.nodes) {
        const start = performance.now();
        const results = bindAll(op, inputs.map((value) => values.get(value)!), attrs, backend);
        onNode?.(op.name, start);
        outputs.forEach((value, i) => values.set(value, results[i]));
      }
      return distinct(graph.outputs.map((value) => values.get(value)!), given);
    })
  );
}

function build(f: (...args: unknown[]) => unknown, call: Call): Specialization {
  const backend = homeOf(call.tensors);
  let rebuild: Specialization["rebuild"] = () => undefined;
  const { graph, captured } = withoutTapes(() =>
    traceGraph(backend, call.tensors, (inputs) => {
      const result = f(...call.rebuild(inputs));
      if (result instanceof Promise) {
        throw new TraceError("Cannot compile an async function: it returns before its ops are known");
      }
      const [tensors, rebuildResult] = tensorsOf(result);
      rebuild = rebuildResult;
      return tensors;
    })
  );
  for (const tensor of captured) {
    if (!(tensor.source instanceof Value)) continue;
    throw new TraceError(
      `Cannot use a traced value of another function: ${tensor.dtype}${show(tensor.shape)} ${tensor.source.origin} ` +
        `was kept after its function was traced; return it instead`,
    );
  }
  requireOn(backend, captured);
  const specs = graph.outputs.map(({ shape, dtype }) => ({ shape, dtype }));
  const lowered = backend.compile ? new Lowered(backend, graph, captured, call.donated) : null;
  const run = lowered
    ? (inputs: readonly Tensor[]) => lowered.run(inputs, specs)
    : (inputs: readonly Tensor[]) => interpret({ graph, captured, backend }, inputs);
  return { signature: call.signature, backend, specs, graph, captured, rebuild, run, lowered };
}

function disposedError({ dtype, shape }: Tensor): DisposedError {
  return new DisposedError(`Cannot donate ${dtype}${show(shape)}: it is disposed`);
}

/** Donated memory that something else still needs is copied first, so that nobody else sees it change. */
function protect(call: Call, captured: readonly Tensor[]): { inputs: readonly Tensor[]; copies: readonly Tensor[] } {
  const copies: Tensor[] = [];
  const inputs = call.tensors.map((tensor, i) => {
    if (!call.donated.has(i)) return tensor;
    const shared = tensor.storage.refs > 1 || captured.some((other) => other.source === tensor.source) ||
      call.tensors.some((other, k) => k !== i && other.source === tensor.source);
    if (!shared) return tensor;
    const copy = bind(copyOp, [tensor], null);
    copies.push(copy);
    return copy;
  });
  return { inputs, copies };
}

/** What `compile` made: the function, and its programs by signature, the latest used last. */
interface Compiled {
  readonly f: (...args: unknown[]) => unknown;
  readonly options: CompileOptions;
  readonly cache: Map<string, Specialization>;
}

const programs = new WeakMap<object, Compiled>();

/**
 * Turns a function into a program that its backend replays: traced once per signature (tree structure, shapes, dtypes,
 * and every argument that is not a tensor), then fused and planned as a whole.
 *
 * Inside `f`, tensors have shapes but no values yet: use `where` and `scan` instead of `if` and `for` over values. What
 * `f` does besides ops happens while it is traced, and not again; a tensor it closes over is the one of that time, so
 * what changes from call to call must be an argument.
 *
 * @param f Any function of trees; gradients and optimizer steps may be inside.
 * @param options Which arguments are donated or static, and how many programs are kept.
 * @returns A function of the same arguments and results.
 * @throws {TraceError} If `f` reads a value, or is async.
 * @throws {ArgumentError} If `donate` or `static` names an argument that is not there, or what donates is differentiated.
 * @example
 * ```ts
 * import * as tn from "@tenon/ml";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await tn.use("wasm", "cpu");
 * const step = tn.compile((w: tn.Tensor, x: tn.Tensor) => {
 *   const [loss, slope] = tn.valueAndGrad((w: tn.Tensor) => tn.mean(tn.square(tn.sub(tn.mul(w, x), 6))))(w);
 *   return [loss, tn.sub(w, tn.mul(slope, 0.1))] as const;
 * }, { donate: [0] });
 *
 * let w = tn.tensor(1), loss = tn.tensor(0);
 * for (let i = 0; i < 20; i++) [loss, w] = step(w, tn.tensor([2, 2]));
 * assertAlmostEquals(await w.item() as number, 3, 1e-5);
 * ```
 */
// deno-lint-ignore no-explicit-any -- parameters without a type annotation stay usable
export function compile<A extends any[], R>(f: (...args: A) => R, options: CompileOptions = {}): (...args: A) => R {
  if (typeof f !== "function") throw new ArgumentError(`Cannot compile ${f}: it is not a function`);
  const { capacity = 16, donate = [] } = options;
  if (!(Number.isInteger(capacity) && capacity >= 1)) {
    throw new ArgumentError(`Cannot compile with capacity ${capacity}: it must be a whole number of at least 1`);
  }
  const both = donate.find((place) => options.static?.includes(place));
  if (both !== undefined) throw new ArgumentError(`Cannot compile: argument ${both} is donated and static`);
  const plain = f as (...args: unknown[]) => unknown;
  const cache = new Map<string, Specialization>();
  const compiled = (...args: A): R => {
    if (activeTrace()) return f(...args);
    const call = takeApart(args, options);
    for (const i of call.donated) if (call.tensors[i].disposed) throw disposedError(call.tensors[i]);
    if (checksNumerics()) { // op by op, so that the culprit has a name
      const result = scope(() => f(...args));
      const kept = new Set(tensorsOf(result)[0].map(({ storage }) => storage));
      for (const i of call.donated) if (!kept.has(call.tensors[i].storage)) call.tensors[i].dispose();
      return result;
    }
    const program = find(plain, call, cache, options);
    if (isTracked([...call.tensors, ...program.captured])) return differentiable(plain, call, program) as R;
    const { inputs, copies } = program.lowered ? protect(call, program.captured) : { inputs: call.tensors, copies: [] };
    const outputs = program.run(inputs);
    for (const i of call.donated) {
      if (inputs[i] === call.tensors[i]) call.tensors[i].donate();
      else call.tensors[i].dispose(); // a copy was given; the memory lives on in what shares it
    }
    for (const copy of copies) copy.dispose();
    return program.rebuild(outputs) as R;
  };
  programs.set(compiled, { f: plain, options, cache });
  return compiled;
}

function find(
  f: (...args: unknown[]) => unknown,
  call: Call,
  cache: Map<string, Specialization>,
  options: CompileOptions,
): Specialization {
  let program = cache.get(call.key);
  if (program) {
    cache.delete(call.key);
  } else {
    const latest = [...cache.values()].at(-1);
    if (latest) {
      options.onRecompile?.(`compiled again at ${userSite()}: ${difference(latest.signature, call.signature)}`);
    }
    program = build(f, call);
  }
  cache.set(call.key, program);
  if (cache.size > (options.capacity ?? 16)) {
    const [oldest] = cache.keys();
    cache.get(oldest)!.lowered?.dispose();
    cache.delete(oldest);
  }
  return program;
}

/** A call under a gradient tape: the program runs as it is, and its pullback is a program too. */
function differentiable(f: (...args: unknown[]) => unknown, call: Call, program: Specialization): unknown {
  if (call.donated.size > 0) {
    throw new ArgumentError("Cannot differentiate a compiled function that donates: its inputs are needed again");
  }
  const outputs = program.run(call.tensors);
  const inputs = [...call.tensors, ...program.captured];
  const run = (xs: readonly Tensor[]) => tensorsOf(f(...call.rebuild(xs)))[0];
  program.back ??= compile((xs: readonly Tensor[], seeds: readonly Tensor[]) =>
    vjpFlat(run, xs, program.captured)[1](seeds)
  );
  const back = program.back;
  recordOn({
    inputs,
    outputs,
    rule: (grads) => back(call.tensors, grads.map((grad, i) => grad ?? zerosLike(outputs[i]))),
  });
  return program.rebuild(outputs);
}

/**
 * The programs of a compiled function that exist so far, latest last.
 *
 * @internal
 */
export function programsOf(
  compiled: object,
): readonly Pick<Specialization, "signature" | "graph" | "captured" | "lowered">[] {
  const known = programs.get(compiled);
  if (!known) throw new ArgumentError("Cannot inspect a function that compile() did not make");
  return [...known.cache.values()];
}

/**
 * Runs the program for `args` with a clock on every kernel.
 *
 * @internal
 */
export async function profileProgram<A extends unknown[]>(
  compiled: (...args: A) => unknown,
  args: A,
): Promise<KernelTime[]> {
  const known = programs.get(compiled);
  if (!known) throw new ArgumentError("Cannot profile a function that compile() did not make");
  const call = takeApart(args, known.options);
  const program = find(known.f, call, known.cache, known.options);
  if (program.lowered) {
    const copies = call.tensors.map((tensor, i) => call.donated.has(i) ? bind(copyOp, [tensor], null) : tensor);
    const times = await program.lowered.profile(copies, program.specs);
    for (const i of call.donated) copies[i].dispose();
    return times;
  }
  const times: KernelTime[] = [];
  const begin = performance.now();
  const outputs = interpret(program, call.tensors, (name, start) => {
    times.push({ name, start: start - begin, duration: performance.now() - start });
  });
  for (const output of outputs) output.dispose();
  return times;
}
