/**
 * How a shader declares the buffers that it touches, and the functions that touch them.
 *
 * @module
 */
import { bytesPerElement, type DType } from "../../core/dtype.ts";
import type { Place } from "../../core/program.ts";
import type { Access } from "./device.ts";
import { TEXELS } from "./images.ts";
import type { Width } from "./math.ts";
import { laneOf, typeName } from "./scalar.ts";

/** Where a whole buffer lives: a slice is a part of one of these. */
export type Home = Exclude<Place, { readonly kind: "slice" }>;

/** How a bound buffer is used. */
export interface Use {
  /** Number of the binding. */
  at: number;
  readonly place: Home;
  /** Whether a copy of it is read. */
  readonly image: boolean;
  bytes: number;
  write: boolean;
  atomic: boolean;
  readonly dtypes: Set<DType>;
  wide: boolean;
  /** Whether fours may be read at once from every place where they are asked for. */
  aligned: boolean;
  readonly accessors: Map<string, Touch>;
}

/** One way to touch a buffer. */
export interface Touch {
  readonly dtype: DType;
  readonly width: Width;
  readonly set: boolean;
  /** Whether what is read stays f16. */
  readonly halves: boolean;
  /** First element of the slice, or "". */
  readonly base: string;
}

/** Whether two uses share bytes without being the same piece. */
function overlap(a: Use, b: Use): boolean {
  return a !== b && a.place.kind === "arena" && b.place.kind === "arena" && a.place.offset <= b.place.offset &&
    b.place.offset < a.place.offset + a.bytes;
}

/**
 * The uses of a shader as bindings. Where they are too many, or pieces of the arena overlap, the whole stretch of the
 * arena that is used becomes one binding; `number` writes a piece's start.
 */
export function bind(uses: readonly Use[], most: number, number: (value: number) => string): Use[] {
  const arena = uses.filter(({ place, image }) => place.kind === "arena" && !image);
  const crowded = uses.filter(({ image }) => !image).length > most ||
    arena.some((a) => arena.some((b) => overlap(a, b)));
  if (!crowded || arena.length < 2) return [...uses];
  const offsetOf = ({ place }: Use) => place.kind === "arena" ? place.offset : 0;
  const offset = Math.min(...arena.map(offsetOf));
  const accessors = arena.flatMap((use) =>
    [...use.accessors].map(([name, touch]): [string, Touch] => {
      const start = (offsetOf(use) - offset) / bytesPerElement(touch.dtype);
      return [name, { ...touch, base: [touch.base, number(start)].filter((part) => part !== "").join(" + ") }];
    })
  );
  const merged: Use = {
    at: 0,
    place: { kind: "arena", offset },
    image: false,
    bytes: Math.max(...arena.map((use) => offsetOf(use) + use.bytes)) - offset,
    write: arena.some(({ write }) => write),
    atomic: arena.some(({ atomic }) => atomic),
    dtypes: new Set(arena.flatMap(({ dtypes }) => [...dtypes])),
    wide: arena.some(({ wide }) => wide),
    aligned: arena.every(({ aligned }) => aligned),
    accessors: new Map(accessors),
  };
  const result = [...uses.filter((use) => !arena.includes(use)), merged];
  result.forEach((use, at) => use.at = at);
  return result;
}

/** A name for a place. */
export function placeKey(place: Home): string {
  return `${place.kind}${place.kind === "arena" ? place.offset : place.index}`;
}

/** The declaration of a buffer and of the functions that touch it. */
export function declare(use: Use, access: Access): string {
  if (use.image) return declareImage(use);
  const lanes = new Set([...use.dtypes].map((dtype) => dtype === "bool" ? "i32" : dtype === "f16" ? "u32" : dtype));
  const element = lanes.size === 1 && !use.atomic ? [...lanes][0] : "u32";
  const wide = use.wide && use.aligned && !use.atomic && !use.dtypes.has("f16");
  const type = use.atomic ? "atomic<u32>" : wide ? `vec4<${element}>` : element;
  const buffer = `b${use.at}`;
  const functions = [...use.accessors].map(([name, touch]) => {
    const accessor = { name, buffer, element, wide, aligned: use.aligned, atomic: use.atomic, ...touch };
    const start = touch.base === "" ? "" : `let i = at + ${touch.base}; `;
    const argument = touch.base === "" ? "i" : "at";
    const half = touch.width === 4 ? "vec4<f16>" : "f16";
    const type = touch.halves ? half : typeName(laneOf(touch.dtype), touch.width);
    return touch.set
      ? `fn ${name}(${argument}: u32, v: ${type}) { ${start}${setter(accessor)} }`
      : `fn ${name}(${argument}: u32) -> ${type} { ${start}return ${getter(accessor)}; }`;
  });
  const mode = access === "read" ? "read" : "read_write";
  return [`@group(0) @binding(${use.at}) var<storage, ${mode}> ${buffer}: array<${type}>;`, ...functions].join("\n");
}

/** The declaration of an image of f32, and of the functions that read it. */
function declareImage({ at, accessors }: Use): string {
  const texel = `textureLoad(b${at}, vec2u((i >> 2u) & ${TEXELS - 1}u, i >> ${2 + Math.log2(TEXELS)}u))`;
  const functions = [...accessors].map(([name, { width }]) =>
    width === 4
      ? `fn ${name}(i: u32) -> vec4f { return ${texel}; }`
      : `fn ${name}(i: u32) -> f32 { return ${texel}[i & 3u]; }`
  );
  const type = "texture_storage_2d<rgba32float, read>";
  return [`@group(0) @binding(${at}) var b${at}: ${type};`, ...functions].join("\n");
}

interface Accessor extends Touch {
  readonly name: string;
  readonly buffer: string;
  /** The declared element type, alone or (`wide`) in fours. */
  readonly element: "f32" | "i32" | "u32";
  readonly wide: boolean;
  readonly aligned: boolean;
  readonly atomic: boolean;
}

/** The word at `i`. */
function word({ buffer, wide, atomic }: Accessor, i: string): string {
  if (atomic) return `atomicLoad(&${buffer}[${i}])`;
  return wide ? `${buffer}[(${i}) >> 2u][(${i}) & 3u]` : `${buffer}[${i}]`;
}

/** Writes the word at `i`. */
function setWord({ buffer, wide, atomic }: Accessor, i: string, value: string): string {
  if (atomic) return `atomicStore(&${buffer}[${i}], ${value});`;
  return wide ? `${buffer}[(${i}) >> 2u][(${i}) & 3u] = ${value};` : `${buffer}[${i}] = ${value};`;
}

const FOUR = ["i", "i + 1u", "i + 2u", "i + 3u"];

function getter(accessor: Accessor): string {
  const { buffer, dtype, width, element, wide } = accessor;
  if (dtype === "f16") return getHalf(accessor);
  const raw = width === 1
    ? word(accessor, "i")
    : wide
    ? `${buffer}[i >> 2u]`
    : `vec4<${element}>(${FOUR.map((i) => word(accessor, i)).join(", ")})`;
  const stored = dtype === "bool" ? "i32" : laneOf(dtype);
  const typed = stored === element ? raw : `bitcast<${typeName(stored, width)}>(${raw})`;
  return dtype === "bool" ? `${typed} != ${typeName("i32", width)}(0)` : typed;
}

/** Halves lie two in a word. */
function getHalf(accessor: Accessor): string {
  const { width, aligned, halves } = accessor;
  const pair = (at: string) => {
    const floats = `unpack2x16float(${word(accessor, at)})`;
    return halves ? `vec2<f16>(${floats})` : floats; // drivers see that nothing is converted; not all know a bitcast
  };
  const half = (i: string) => `${pair(`(${i}) >> 1u`)}[(${i}) & 1u]`;
  if (width === 1) return half("i");
  const parts = aligned ? [pair("i >> 1u"), pair("(i >> 1u) + 1u")] : FOUR.map(half);
  return `${halves ? "vec4<f16>" : "vec4f"}(${parts.join(", ")})`;
}

function setter(accessor: Accessor): string {
  const { buffer, dtype, width, element, wide } = accessor;
  if (dtype === "f16") return setHalf(accessor);
  const integer = typeName("i32", width);
  const value = dtype === "bool" ? `select(${integer}(0), ${integer}(1), v)` : "v";
  const stored = dtype === "bool" ? "i32" : laneOf(dtype);
  const typed = stored === element ? value : `bitcast<${typeName(element, width)}>(${value})`;
  if (width === 1) return setWord(accessor, "i", typed);
  if (wide) return `${buffer}[i >> 2u] = ${typed};`;
  return `let w = ${typed}; ${FOUR.map((i, k) => setWord(accessor, i, `w[${k}]`)).join(" ")}`;
}

/** Halves lie two in a word: four are two words; one leaves its neighbour's bits alone. */
function setHalf(accessor: Accessor): string {
  const { buffer, width } = accessor;
  if (width === 4) {
    return `${setWord(accessor, "i >> 1u", "pack2x16float(v.xy)")} ${
      setWord(accessor, "(i >> 1u) + 1u", "pack2x16float(v.zw)")
    }`;
  }
  return `let shift = (i & 1u) * 16u; atomicAnd(&${buffer}[i >> 1u], ~(0xffffu << shift)); ` +
    `atomicOr(&${buffer}[i >> 1u], (pack2x16float(vec2f(v, 0.0)) & 0xffffu) << shift);`;
}
