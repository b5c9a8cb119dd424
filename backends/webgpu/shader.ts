/**
 * Writes one shader: which buffers it sees, how their elements are read and written, and its numbers.
 *
 * A shader calls small accessor functions (`b0_f32(i)`, `b0_f32x4(i)`, `set_b1_f32x4(i, v)`); how the buffer is
 * declared is settled at the end, when it is known who touches it how.
 *
 * @module
 */
import { BackendError } from "../../core/errors.ts";
import { bytesPerElement, type DType } from "../../core/dtype.ts";
import type { ScalarOp } from "../../core/scalar.ts";
import type { BufferPlan } from "../../core/program.ts";
import { bind, declare, type Home, placeKey, type Use } from "./binding.ts";
import type { Access } from "./device.ts";
import { WORTH_IMAGES } from "./images.ts";
import { MathLibrary, type Width } from "./math.ts";
import { type Lane, laneOf, SCALAR, typeName } from "./scalar.ts";

/** A buffer as one dispatch sees it. */
export interface Binding {
  readonly place: Home;
  readonly bytes: number;
  readonly access: Access;
}

/** One dispatch. */
export interface Kernel {
  readonly name: string;
  readonly code: string;
  readonly bindings: readonly Binding[];
  /** What the text calls `n`, or null. */
  readonly numbers: Uint32Array | null;
  /** Loops whose turns the text calls `t`, in that order. */
  readonly loops: readonly number[];
  readonly groups: readonly [number, number, number];
  /** Other kernels that compute the same, any of which may be faster. */
  readonly tuning?: {
    /** Kernels of equal keys are taken to be fastest with the same choice. */
    readonly key: string;
    /** Floating-point operations. */
    readonly work: number;
    readonly others: readonly (() => Kernel)[];
  };
}

/** What a lowering may ask of the program around it. */
export interface Context {
  /** Numbers go to a uniform, so that kernels of other sizes share the text; otherwise they are written out. */
  readonly shared: boolean;
  /** Lanes are SIMD lanes of a CPU. */
  readonly software: boolean;
  /** Whether products of f16 are computed in f16. */
  readonly f16Arithmetic: boolean;
  /** Whether kernels that read a buffer of f32 much had better read an image of it. */
  hasImage(buffer: BufferPlan, dtype: DType): boolean;
  /** Most buffers that one kernel may see. */
  readonly maxBuffers: number;
  buffer(index: number): BufferPlan;
  /** Whether one step alone writes a buffer, so that what it writes is all that the buffer holds. */
  soleWriter(index: number): boolean;
  /** Memory that lives until the step ends. */
  scratch(dtype: DType, count: number): BufferPlan;
}

/** Turns that the loops of one invocation may take together: llvmpipe ends it, silently, after 65,535. */
export const MAX_TURNS = 60000;

/** Images that one kernel may see: every device allows so many. */
const MOST_IMAGES = 4;

const WORKGROUP = 64;
const MAX_GROUPS = 65535;

/** The bits of a value of a register type. */
export function bitsOf(value: number, lane: Lane): number {
  if (lane !== "f32") return lane === "bool" ? (value ? 1 : 0) : value >>> 0;
  return new Uint32Array(new Float32Array([value]).buffer)[0];
}

/** Workgroups for `count`, in at most 65,535 a dimension. */
export function spread(count: number): [number, number, number] {
  const y = Math.max(1, Math.ceil(count / MAX_GROUPS));
  return [Math.max(1, Math.ceil(count / y)), y, 1];
}

/** Whether four elements of a buffer, from a multiple of four on, may be touched at once. */
export function isAligned(context: Context, { place }: BufferPlan, dtype: DType): boolean {
  if (place.kind !== "slice") return true;
  return place.stride % (4 * bytesPerElement(dtype)) === 0 && isAligned(context, context.buffer(place.of), dtype);
}

/** A shader being written. */
export class Shader {
  readonly library = new MathLibrary();
  readonly lines: string[] = [];
  /** Declarations outside `main`. */
  readonly globals: string[] = [];
  readonly #uses = new Map<string, Use>();
  readonly #numbers: number[] = [];
  readonly #loops: number[] = [];
  readonly #slices: string[] = [];
  #names = 0;

  /** `work` is how many products of two numbers it computes, if they matter. */
  constructor(readonly name: string, readonly context: Context, readonly work: number = 0) {}

  /** Appends statements. */
  add(...lines: string[]): void {
    this.lines.push(...lines);
  }

  /** Declares an immutable value and returns its name. */
  let(value: string, prefix = "v"): string {
    const name = `${prefix}${this.#names++}`;
    this.add(`let ${name} = ${value};`);
    return name;
  }

  /** A name that is not taken. */
  fresh(prefix: string): string {
    return `${prefix}${this.#names++}`;
  }

  /** A whole number, modulo 2^32. */
  num(value: number): string {
    if (!this.context.shared) return `${value >>> 0}u`;
    return this.uniform(value);
  }

  /** A number that may differ between kernels of one text. */
  uniform(value: number): string {
    const at = this.#numbers.push(value >>> 0) - 1;
    return `n[${at >> 2}].${"xyzw"[at & 3]}`;
  }

  /** A constant of a register type. */
  constant(value: number, lane: Lane): string {
    if (lane === "bool") return value > 0 ? "true" : "false";
    const bits = bitsOf(value, lane);
    if (this.context.shared) return lane === "u32" ? this.num(bits) : `bitcast<${lane}>(${this.num(bits)})`;
    if (lane === "u32") return `${bits}u`;
    if (lane === "i32") return `bitcast<i32>(${bits}u)`;
    const single = Math.fround(value);
    if (!Number.isFinite(single)) return `${this.library.use("special", 1)}(${bits}u)`;
    return `f32(${Object.is(single, -0) ? "-0.0" : single})`;
  }

  /** A row of the scalar table; `from` is the type of the last argument. */
  scalar(op: ScalarOp, args: readonly string[], from: Lane, to: DType, width: Width): string {
    return SCALAR[op]({ args, from, to, width, library: this.library });
  }

  /** Element `index` of a buffer, or four from there on. */
  load(buffer: BufferPlan, dtype: DType, index: string, width: Width): string {
    return `${this.#accessor(buffer, dtype, width, "get")}(${index})`;
  }

  /** Element `index` of a buffer of f16, or four from there on, as f16. */
  halves(buffer: BufferPlan, index: string, width: Width): string {
    return `${this.#accessor(buffer, "f16", width, "halves")}(${index})`;
  }

  /** Element `index` of a buffer that has an image, or four from a multiple of four on, read from that. */
  fetch(buffer: BufferPlan, index: string, width: Width): string {
    return `${this.#accessor(buffer, "f32", width, "fetch")}(${index})`;
  }

  /** Whether a buffer has an image, and a kernel may see that too. */
  hasImage(buffer: BufferPlan, dtype: DType): boolean {
    const { place } = buffer;
    if (place.kind === "slice" || !this.context.hasImage(buffer, dtype)) return false;
    const images = [...this.#uses.values()].filter(({ image }) => image);
    return images.length < MOST_IMAGES || this.#uses.has(`${placeKey(place)} image`);
  }

  /** Element `index` of a buffer, from its image where it has one and there is so much work that this pays. */
  read(buffer: BufferPlan, dtype: DType, index: string): string {
    const image = this.work >= WORTH_IMAGES && this.hasImage(buffer, dtype);
    return image ? this.fetch(buffer, index, 1) : this.load(buffer, dtype, index, 1);
  }

  /** Four elements `stride` apart. */
  gather(buffer: BufferPlan, dtype: DType, index: string, stride: string): string {
    const from = this.let(index, "i");
    const items = [0, 1, 2, 3].map((k) => this.load(buffer, dtype, `${from} + ${k}u * ${stride}`, 1));
    return `${typeName(laneOf(dtype), 4)}(${items.join(", ")})`;
  }

  /** A statement that writes one element, or four. */
  store(buffer: BufferPlan, dtype: DType, index: string, value: string, width: Width): string {
    return `${this.#accessor(buffer, dtype, width, "set")}(${index}, ${value});`;
  }

  /** Whether four elements from a multiple of four on may be touched at once. */
  aligned(buffer: BufferPlan, dtype: DType): boolean {
    return isAligned(this.context, buffer, dtype);
  }

  #accessor(buffer: BufferPlan, dtype: DType, width: Width, way: "get" | "halves" | "fetch" | "set"): string {
    const { home, bytes, base, slices } = this.#resolve(buffer, dtype);
    const set = way === "set", image = way === "fetch", halves = way === "halves";
    const key = `${placeKey(home)}${image ? " image" : ""}`;
    let use = this.#uses.get(key);
    if (!use) {
      const at = this.#uses.size;
      use = {
        at,
        place: home,
        image,
        bytes,
        write: false,
        atomic: false,
        dtypes: new Set(),
        wide: false,
        aligned: true,
        accessors: new Map(),
      };
      this.#uses.set(key, use);
    }
    use.bytes = Math.max(use.bytes, bytes);
    use.dtypes.add(dtype);
    use.write ||= set;
    use.wide ||= width === 4;
    use.aligned &&= width === 1 || this.aligned(buffer, dtype);
    use.atomic ||= set && dtype === "f16" && width === 1;
    const name = `${set ? "set_" : halves ? "halves_" : ""}b${use.at}${slices}_${dtype}${width === 4 ? "x4" : ""}`;
    if (!use.accessors.has(name)) use.accessors.set(name, { dtype, width, set, halves, base: base() });
    return name;
  }

  /** The whole buffer that a slice is of, and where it starts. */
  #resolve(buffer: BufferPlan, dtype: DType): { home: Home; bytes: number; base: () => string; slices: string } {
    const { place } = buffer;
    if (place.kind !== "slice") return { home: place, bytes: buffer.bytes, base: () => "", slices: "" };
    const outer = this.#resolve(this.context.buffer(place.of), dtype);
    const stride = place.stride / bytesPerElement(dtype);
    const base = () => {
      const turn = this.#turn(place.loop);
      return [outer.base(), `${turn} * ${this.num(stride)}`].filter((part) => part !== "").join(" + ");
    };
    const key = `${outer.slices} ${place.loop} ${stride}`;
    let at = this.#slices.indexOf(key);
    if (at < 0) at = this.#slices.push(key) - 1;
    return { home: outer.home, bytes: outer.bytes, base, slices: `_s${at}` };
  }

  /** The current turn of a loop. */
  #turn(loop: number): string {
    let at = this.#loops.indexOf(loop);
    if (at < 0) at = this.#loops.push(loop) - 1;
    if (at >= 4) {
      throw new BackendError("Cannot run a loop inside of four others on webgpu: a kernel hears of four turns");
    }
    return `t.${"xyzw"[at]}`;
  }

  /** Starts `main` with one invocation for each of `count`; returns the name of its number. */
  linear(count: number): { index: string; groups: [number, number, number] } {
    this.add(`let i = (group.y * groups.x + group.x) * ${WORKGROUP}u + local.x;`);
    this.add(`if (i >= ${this.num(count)}) { return; }`);
    return { index: "i", groups: spread(Math.ceil(count / WORKGROUP)) };
  }

  /** The finished kernel. */
  finish(groups: readonly [number, number, number], workgroup: readonly [number, number] = [WORKGROUP, 1]): Kernel {
    const uses = bind([...this.#uses.values()], this.context.maxBuffers, (value) => this.num(value));
    const arenaWritten = uses.some(({ place, write }) => place.kind === "arena" && write);
    const bindings: Binding[] = uses.map((use) => ({
      place: use.place,
      bytes: use.bytes,
      access: use.image
        ? "image"
        : use.write || (use.place.kind === "arena" && arenaWritten) || use.atomic
        ? "write"
        : "read",
    }));
    const declarations = uses.map((use, at) => declare(use, bindings[at].access));
    const rows = Math.ceil(this.#numbers.length / 4);
    if (rows > 0) declarations.push(`@group(0) @binding(${uses.length}) var<uniform> n: array<vec4u, ${rows}>;`);
    if (this.#loops.length > 0) {
      declarations.push(`@group(0) @binding(${uses.length + (rows > 0 ? 1 : 0)}) var<uniform> t: vec4u;`);
    }
    const body = this.lines.map((line) => `  ${line}`).join("\n");
    const code = [
      uses.some(({ accessors }) => [...accessors.values()].some(({ halves }) => halves)) ? "enable f16;" : "",
      ...declarations,
      this.library.text(),
      ...this.globals,
      `@compute @workgroup_size(${workgroup.join(", ")})`,
      `fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) local: vec3u) {`,
      `${body}\n}`,
    ].filter((part) => part !== "").join("\n");
    const numbers = rows > 0 ? new Uint32Array(rows * 4) : null;
    numbers?.set(this.#numbers);
    return { name: this.name, code, bindings, numbers, loops: this.#loops, groups };
  }
}
