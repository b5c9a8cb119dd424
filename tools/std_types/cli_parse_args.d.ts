// parseArgs of @std/cli, typed for the options that this project uses: `boolean`, `string`, `collect`, `negatable`,
// `default`, `alias`, `stopEarly` and `unknown`, with flat flag names.

/** The names of flags of one kind: one name or a list. */
type Names<N extends string> = N | readonly N[];

export interface ParseOptions<
  B extends string = string,
  S extends string = string,
  C extends string = string,
  D extends Record<string, unknown> = Record<string, unknown>,
> {
  boolean?: Names<B>;
  string?: Names<S>;
  collect?: Names<C>;
  negatable?: Names<string>;
  default?: D;
  alias?: Readonly<Record<string, string | readonly string[]>>;
  stopEarly?: boolean;
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** What one flag holds: a value of its kind, or its default; a string flag without a default may be absent. */
type Value<K, Kind, C, D> = K extends C ? Kind[]
  : K extends keyof D ? Kind | Widen<D[K]>
  : Kind extends boolean ? Kind
  : Kind | undefined;

type Widen<T> = T extends string ? string : T extends number ? number : T extends boolean ? boolean : T;

export type Args<B extends string, S extends string, C extends string, D> =
  & { [K in B]: Value<K, boolean, C, D> }
  & { [K in Exclude<S, B>]: Value<K, string, C, D> }
  & { [K in Exclude<C, B | S>]: unknown[] }
  & { [flag: string]: unknown; _: Array<string | number> };

export function parseArgs<
  const B extends string = never,
  const S extends string = never,
  const C extends string = never,
  const D extends Record<string, unknown> = Record<never, unknown>,
>(args: readonly string[], options?: ParseOptions<B, S, C, D>): Args<B, S, C, D>;
