/**
 * The few @std packages that this project uses, for machines that reach the npm registry but not JSR: the npm package
 * `deno-std` holds the same modules compiled, and `std_types/` holds their typings.
 * @module
 */
import { createHash } from "node:crypto";
import config from "../deno.json" with { type: "json" };
import type { Package } from "./jsr_registry.ts";

/** One mirrored export: the module in `deno-std` and its typings beside this file. */
interface Entry {
  readonly module: string;
  readonly types: string;
}

const ENTRIES: Readonly<Record<string, Readonly<Record<string, Entry>>>> = {
  "@std/assert": { ".": { module: "/assert/mod.js", types: "assert.d.ts" } },
  "@std/cli": { "./parse-args": { module: "/cli/parse_args.js", types: "cli_parse_args.d.ts" } },
  "@std/path": { ".": { module: "/path/mod.js", types: "path.d.ts" } },
};

/** The `jsr:` specifiers of the modules that are mirrored. */
export const STD_MODULES: readonly string[] = Object.entries(ENTRIES).flatMap(([name, entries]) =>
  Object.keys(entries).map((key) => `jsr:${name}@${versionOf(name)}${key.slice(1)}`)
);

/** The mirrored packages, in the versions that deno.json asks JSR for. Needs the npm registry or a filled cache. */
export async function loadStd(): Promise<Package[]> {
  const root = await locateDenoStd();
  return await Promise.all(
    Object.entries(ENTRIES).map(([name, entries]) => mirror(root, name, entries)),
  );
}

/** The folder where Deno keeps the npm package. The name is a variable so that only machines in need download it. */
async function locateDenoStd(): Promise<URL> {
  const specifier = "npm:deno-std@1.4.0/assert/assert.js";
  try {
    await import(specifier);
  } catch (cause) {
    throw new Error(`Cannot load @std: JSR does not answer, nor does npm for ${specifier}`, { cause });
  }
  return new URL("..", import.meta.resolve(specifier));
}

async function mirror(root: URL, name: string, entries: Readonly<Record<string, Entry>>): Promise<Package> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const folder of new Set([...Object.values(entries).map(({ module }) => module.split("/")[1]!), "internal"])) {
    await readModules(root, `/${folder}`, files);
  }
  for (const { module, types } of Object.values(entries)) {
    files.set(`/${types}`, await Deno.readFile(new URL(`std_types/${types}`, import.meta.url)));
    const source = new TextDecoder().decode(files.get(module));
    files.set(module, new TextEncoder().encode(`/* @ts-self-types="../${types}" */\n${source}`));
  }
  const exports = Object.fromEntries(Object.entries(entries).map(([key, { module }]) => [key, `.${module}`]));
  return { name, version: versionOf(name), exports, files };
}

async function readModules(root: URL, folder: string, files: Map<string, Uint8Array<ArrayBuffer>>): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(new URL(`.${folder}`, root))) {
    const path = `${folder}/${name}`;
    if (isDirectory) await readModules(root, path, files);
    else if (name.endsWith(".js")) files.set(path, await Deno.readFile(new URL(`.${path}`, root)));
  }
}

function versionOf(name: string): string {
  const specifier = (config.imports as Record<string, string>)[name];
  if (specifier === undefined) throw new Error(`Cannot mirror ${name}: deno.json does not import it`);
  return specifier.slice(specifier.lastIndexOf("@") + 1);
}

/**
 * A port drawn from the packages' content. Deno caches by URL, so the same content is found again at the same port,
 * and changed content is never mistaken for what is cached.
 */
export function contentPort(packages: readonly Package[]): number {
  const hash = createHash("sha256");
  for (const { name, version, files } of packages) {
    hash.update(`${name}@${version}`);
    for (const path of [...files.keys()].sort()) hash.update(path).update(files.get(path)!);
  }
  return 20_000 + hash.digest().readUInt16BE() % 10_000;
}
