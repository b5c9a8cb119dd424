/**
 * What a backend is, and the registry that finds one by name.
 *
 * A backend supplies memory and kernels. One that can lower whole programs (see `program.ts`) also supplies `compile`;
 * its eager kernels are then programs of one op.
 *
 * @module
 */
import { BackendError } from "./errors.ts";
import type { Program } from "./program.ts";
import type { Spec } from "./shape.ts";

/** A spec with its storage on one backend, contiguous in row-major order. */
export type View<B> = Spec & { readonly buffer: B };

/** What a kernel is given: shapes are checked and memory is allocated already. */
// deno-lint-ignore no-explicit-any -- attributes are typed where a kernel is paired with its op
export interface KernelCall<B, A = any> {
  /** To be read; one may be the same tensor as another. */
  readonly inputs: readonly View<B>[];
  /** To be filled; contents undefined. */
  readonly outputs: readonly View<B>[];
  /** The op's attributes, checked by its `infer`. */
  readonly attrs: A;
}

/** Fills the outputs' buffers. */
// deno-lint-ignore no-explicit-any -- see KernelCall
export type Kernel<B, A = any> = (call: KernelCall<B, A>) => void;

/** Kernels by the name of their op. */
export type KernelTable<B> = Readonly<Record<string, Kernel<B>>>;

/** Time spent in one kernel of a program. */
export interface KernelTime {
  /** The ops fused into it, in order. */
  readonly name: string;
  /** Milliseconds since the run began. */
  readonly start: number;
  /** Milliseconds. */
  readonly duration: number;
}

/** A program made ready to run on a backend. */
export interface Executable<B> {
  /** Runs the program; `inputs` and `outputs` are in the program's order. */
  run(inputs: readonly B[], outputs: readonly B[]): void;
  /** Runs the program once and says how long each kernel took. */
  profile?(inputs: readonly B[], outputs: readonly B[]): Promise<KernelTime[]>;
  /** Frees what the program holds. */
  dispose(): void;
}

/** Memory and arithmetic of one kind of device. */
// deno-lint-ignore no-explicit-any -- a buffer is opaque to everyone but its backend
export interface Backend<B = any> {
  /** What `use` calls it. */
  readonly name: string;
  /** Storage for `bytes` bytes, contents undefined. */
  alloc(bytes: number): B;
  /** Gives storage back. */
  free(buffer: B): void;
  /** Copies `data` to the start of `buffer`. */
  write(buffer: B, data: ArrayBufferView): void;
  /** Copies the first `bytes` bytes out, after all work issued so far. */
  read(buffer: B, bytes: number): Promise<ArrayBuffer>;
  /** The same without waiting, where a device allows it. */
  readSync?(buffer: B, bytes: number): ArrayBuffer;
  /** Kernels that run one op each. */
  readonly kernels: KernelTable<B>;
  /** Lowers a program. */
  compile?(program: Program): Executable<B>;
  /** Ops that `compile` lowers besides fused regions; composites not listed are replaced by their bodies. */
  readonly lowers?: ReadonlySet<string>;
  /** Of those, the ops whose kernels read their inputs through any strides; the others get contiguous inputs. */
  readonly strided?: ReadonlySet<string>;
  /** Of those, the ops whose kernels read f16 as it is and put out f32; the others get f32 for it. */
  readonly takesF16?: ReadonlySet<string>;
  /** Whether the device is gone for good: `use` then starts another one. */
  lost?(): boolean;
  /** What is worth saying about the device, for the line that `use` prints. */
  readonly description?: string;
}

/** Makes a backend, or throws with the reason why it cannot work here. */
export type BackendFactory = () => Backend | Promise<Backend>;

const factories = new Map<string, BackendFactory>();
const running = new Map<string, Promise<Backend>>();
const ready = new Map<string, Backend>();
let current: Backend | null = null;

/**
 * Makes a backend known by name. It is created when {@linkcode use} first asks for it; tensors of the one before stay
 * where they are.
 *
 * @example
 * ```ts ignore
 * import { registerBackend, use } from "@tenon/ml";
 * import { createMine } from "./mine.ts";
 *
 * registerBackend("mine", () => createMine());
 * await use("mine");
 * ```
 */
export function registerBackend(name: string, factory: BackendFactory): void {
  factories.set(name, factory);
  running.delete(name);
  ready.delete(name);
}

function start(name: string): Promise<Backend> {
  const factory = factories.get(name);
  if (!factory) {
    return Promise.reject(
      new BackendError(`Cannot use backend "${name}": no such backend, known are ${[...factories.keys()].join(", ")}`),
    );
  }
  let backend = ready.get(name)?.lost?.() ? undefined : running.get(name);
  if (!backend) {
    backend = (async () => {
      const made = await factory();
      if (made.name !== name) {
        throw new BackendError(`Cannot use backend "${name}": it calls itself "${made.name}"`);
      }
      ready.set(name, made);
      return made;
    })();
    running.set(name, backend);
    backend.catch(() => running.delete(name));
  }
  return backend;
}

/** Which backend was chosen, and why those before it were not. */
export interface Choice {
  /** Name of the backend that new tensors go to from now on. */
  readonly backend: string;
  /** What the backend says of its device. */
  readonly description: string;
  /** The names tried before, each with the reason why it did not work. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
}

/**
 * Makes the first backend of `names` that works here the default for new tensors.
 *
 * @returns What was chosen, and why the ones before it were not; `String(choice)` is one line of text.
 * @throws {BackendError} If none works; the message gives every reason.
 * @example
 * ```ts
 * import { use } from "@tenon/ml";
 *
 * const choice = await use("wasm", "cpu");
 * console.log(`${choice}`); // wasm (2 threads, relaxed SIMD)
 * ```
 */
export async function use(...names: string[]): Promise<Choice> {
  const skipped: { name: string; reason: string }[] = [];
  for (const name of names) {
    try {
      current = await start(name);
      const backend = current.name, description = current.description ?? "";
      const text = [
        description ? `${backend} (${description})` : backend,
        ...skipped.map((s) => `not ${s.name}: ${s.reason}`),
      ].join("; ");
      return Object.defineProperty({ backend, description, skipped }, "toString", { value: () => text });
    } catch (error) {
      skipped.push({ name, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  const reasons = skipped.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
  throw new BackendError(`Cannot use any of [${names.join(", ")}]: ${reasons || "no name was given"}`);
}

/** Names of the registered backends that work here. It starts each of them to find out. */
export async function available(): Promise<string[]> {
  const names = [...factories.keys()];
  const works = await Promise.all(names.map((name) => start(name).then(() => true, () => false)));
  return names.filter((_, i) => works[i]);
}

/** The backend that new tensors go to. */
export function currentBackend(): Backend {
  if (!current) {
    throw new BackendError('Cannot make a tensor: no backend is in use yet, call `await use("wasm", "cpu")` first');
  }
  return current;
}

/** What to call a backend beside `home`: another may have been registered under its name since. */
export function nameBeside(home: Backend, { name }: Backend): string {
  return name === home.name ? `an earlier "${name}"` : name;
}

/** A backend by name, started if need be. */
export function backendByName(name: string): Promise<Backend> {
  return start(name);
}

/** A backend that is running already, by name. */
export function runningBackend(name: string): Backend {
  const backend = ready.get(name);
  if (!backend) throw new BackendError(`Cannot use backend "${name}" yet: call \`await use("${name}")\` first`);
  return backend;
}
