/**
 * The passes, one after the other, and what comes of them: a program together with its executable, tensors in, tensors
 * out.
 *
 * ```text
 *  Graph ─ simplify ─> primitives ─ draftGraph ─> drafts ─ planProgram ─> Program ─ backend.compile ─> Executable
 *          simplify.ts              fuse.ts                plan.ts        program.ts
 *          rewrite.ts, hoist.ts     region.ts, steps.ts
 * ```
 *
 * @module
 */
import type { Backend, Executable, KernelTime } from "./backend.ts";
import { BackendError } from "./errors.ts";
import type { Graph } from "./graph.ts";
import { planProgram } from "./plan.ts";
import type { Program } from "./program.ts";
import { simplify } from "./simplify.ts";
import { size, type Spec } from "./shape.ts";
import { draftGraph } from "./steps.ts";
import { allocate, type Storage, Tensor } from "./tensor.ts";

/** What a graph became on one backend. */
export class Lowered {
  readonly program: Program;
  readonly #executable: Executable<unknown>;
  readonly #captured: readonly Tensor[];

  /** `captured` are the tensors behind the graph's last inputs; `donated` inputs may be overwritten. */
  constructor(readonly backend: Backend, graph: Graph, captured: readonly Tensor[], donated?: ReadonlySet<number>) {
    const simplified = simplify(graph, backend);
    this.program = planProgram(simplified.graph, draftGraph(simplified.graph, backend), donated);
    this.#captured = [...captured, ...simplified.captured];
    this.#executable = backend.compile!(this.program);
  }

  /** Runs the program; an output that is an input, or takes its place, shares its memory. */
  run(args: readonly Tensor[], specs: readonly Spec[]): Tensor[] {
    const { inputs, outputs } = this.#prepare(args, specs);
    if (!specs.every(({ shape }) => size(shape) === 0)) {
      this.#executable.run(inputs.map(bufferOf), outputs.map(({ storage }) => bufferOf(storage)));
    }
    return outputs;
  }

  /** Runs the program and says how long each kernel took. */
  profile(args: readonly Tensor[], specs: readonly Spec[]): Promise<KernelTime[]> {
    if (!this.#executable.profile) throw new BackendError(`Cannot profile on ${this.backend.name}: it keeps no times`);
    const { inputs, outputs } = this.#prepare(args, specs);
    const times = this.#executable.profile(inputs.map(bufferOf), outputs.map(({ storage }) => bufferOf(storage)));
    for (const output of outputs) output.dispose();
    return times;
  }

  #prepare(args: readonly Tensor[], specs: readonly Spec[]): { inputs: Storage[]; outputs: Tensor[] } {
    const inputs = [...args, ...this.#captured].map(({ storage }) => storage);
    const outputs: Tensor[] = [];
    specs.forEach((spec, i) => {
      const { place } = this.program.buffers[this.program.results[i]];
      if (place.kind === "input") outputs.push(new Tensor(spec, this.backend, inputs[place.index]));
      else if (place.kind === "output" && place.index < i) {
        outputs.push(new Tensor(spec, this.backend, outputs[place.index].storage));
      } else outputs.push(allocate(spec, this.backend));
    });
    return { inputs, outputs };
  }

  dispose(): void {
    this.#executable.dispose();
  }
}

function bufferOf(storage: Storage): unknown {
  return storage.buffer;
}
