/**
 * Weighs browser bundles: minified by esbuild, then gzipped. The peers are installed into a temporary folder, since a
 * bundler for browsers wants a `node_modules`.
 *
 * ```text
 * deno run -A bench/size_bench.ts
 * ```
 *
 * @module
 */
import * as esbuild from "npm:esbuild@0.28.2";
import { readOptions, report } from "./options.ts";
import { render, type Table, times } from "./table.ts";

const PEERS = {
  "@jax-js/jax": "0.1.25",
  "@tensorflow/tfjs-core": "4.22.0",
  "@tensorflow/tfjs-backend-wasm": "4.22.0",
  "@tensorflow/tfjs-backend-webgpu": "4.22.0",
};

/** A program to bundle. */
interface Bundle {
  readonly name: string;
  readonly source: string;
  /** A file that the bundle fetches when it runs, in the folder of the peers. */
  readonly asset?: string;
}

const ours = (path: string) => JSON.stringify(new URL(`../${path}`, import.meta.url).pathname);
const everything = (...paths: string[]) => paths.map((path) => `export * from ${ours(path)};`).join("\n");

const gradients = `
  export { grad, matMul, setBackend, tensor } from "@tensorflow/tfjs-core";
  import "@tensorflow/tfjs-core/dist/register_all_gradients";
  import "@tensorflow/tfjs-backend-wasm";`;

/** The library with these backends: a bundler that splits at dynamic imports has a page fetch only the one it uses. */
const library = (...backends: string[]): string =>
  everything(
    ...["backend", "errors", "scope", "tensor", "tree"].map((name) => `core/${name}.ts`),
    ...["checkpoint", "compile", "custom_vjp", "grad", "inspect", "scan"].map((name) => `transforms/${name}.ts`),
    "ops/mod.ts",
    ...backends.map((name) => `backends/${name}/mod.ts`),
  );

const BUNDLES: readonly Bundle[] = [
  { name: "Tenon: core, ops, WASM, WebGPU", source: library("wasm", "webgpu") },
  { name: "Tenon: core, ops, WASM", source: library("wasm") },
  { name: "Tenon: core, ops, WebGPU", source: library("webgpu") },
  {
    name: "Tenon: matmul and grad (WASM, WebGPU, CPU)",
    source: `export { grad, matmul, tensor, use } from ${ours("mod.ts")};`,
  },
  { name: "Tenon: all of mod.ts", source: everything("mod.ts") },
  {
    name: "jax-js: matmul and grad (WASM, WebGPU)",
    source: `export { defaultDevice, grad, init, numpy } from "@jax-js/jax";`,
  },
  {
    name: "TensorFlow.js: matmul and grad (WASM)",
    source: gradients,
    asset: "node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm",
  },
  {
    name: "TensorFlow.js: matmul and grad (WASM, WebGPU)",
    source: `${gradients} import "@tensorflow/tfjs-backend-webgpu";`,
    asset: "node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm",
  },
];

/** jax-js has a WebGL device too, in a file of its own; it is left out. */
const withoutWebgl: esbuild.Plugin = {
  name: "without WebGL",
  setup: (build) => build.onResolve({ filter: /\/webgl-\w+\.js$/ }, ({ path }) => ({ path, external: true })),
};

async function installPeers(folder: string): Promise<void> {
  await Deno.writeTextFile(`${folder}/package.json`, JSON.stringify({ dependencies: PEERS }));
  await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify({ nodeModulesDir: "auto", lock: false }));
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args: ["install", "--quiet"], cwd: folder })
    .output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
}

async function gzipped(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(stream).arrayBuffer()).byteLength;
}

/** Minified bytes of our own files by their folder. */
function byFolder(inputs: esbuild.Metafile["outputs"][string]["inputs"]): string {
  const sizes = new Map<string, number>();
  for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
    const folder = /(core|transforms|ops|train|backends\/\w+)\/\w+\.ts$/.exec(path)?.[1] ?? "mod.ts";
    if (bytesInOutput > 0) sizes.set(folder, (sizes.get(folder) ?? 0) + bytesInOutput);
  }
  const sorted = [...sizes].sort((a, b) => b[1] - a[1]);
  return sorted.map(([folder, size]) => `${folder} ${kilobytes(size)}`).join(", ");
}

const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(1)} KB`;

/** Bundles everything. */
export async function weigh(): Promise<Table> {
  const folder = await Deno.makeTempDir({ prefix: "tenon-size-" });
  const rows: string[][] = [], notes: string[] = [];
  let own = NaN;
  try {
    await installPeers(folder);
    for (const { name, source, asset } of BUNDLES) {
      report(`size: ${name}`);
      const { outputFiles, metafile } = await esbuild.build({
        stdin: { contents: source, resolveDir: folder },
        bundle: true,
        minify: true,
        metafile: true,
        format: "esm",
        target: "esnext",
        platform: "browser",
        write: false,
        logLevel: "silent",
        plugins: [withoutWebgl],
      });
      const minified = new Uint8Array(outputFiles[0].contents), size = await gzipped(minified);
      if (rows.length === 0) {
        own = size;
        notes.push(`Minified, ${name}: ${byFolder(Object.values(metafile.outputs)[0].inputs)}`);
      }
      const fetched = asset === undefined ? 0 : await gzipped(await Deno.readFile(`${folder}/${asset}`));
      const total = `${kilobytes(size)}${fetched > 0 ? ` + ${kilobytes(fetched)} .wasm` : ""}`;
      rows.push([name, kilobytes(minified.length), total, times((size + fetched) / own)]);
    }
  } finally {
    await esbuild.stop();
    await Deno.remove(folder, { recursive: true });
  }
  return {
    title: "Size of a browser bundle",
    columns: ["", "minified", "gzipped", "of the first"],
    rows,
    notes: [
      `esbuild ${esbuild.version}; ${Object.entries(PEERS).map(([name, v]) => `${name} ${v}`).join(", ")}`,
      ...notes,
    ],
  };
}

if (import.meta.main) {
  const options = readOptions("deno run -A bench/size_bench.ts: weighs browser bundles");
  console.log(render(await weigh(), options.format));
}
