// The whole way over JSR, against a registry on the loopback address: `deno publish`, then README's example by `jsr:`
// import from an empty folder with an empty cache and no permissions, then once more with the registry switched off.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import config from "../deno.json" with { type: "json" };
import { startRegistry } from "../tools/jsr_registry.ts";
import { loadStd } from "../tools/std_mirror.ts";

const REPOSITORY = join(import.meta.dirname!, "..");

/** Runs Deno and asserts that it succeeds; resolves to what it printed. */
async function deno(args: string[], cwd: string, env: Record<string, string>): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd, env }).output();
  const [printed, complaint] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(success, `deno ${args.join(" ")}:\n${printed}${complaint}`);
  return printed!;
}

/** The first TypeScript block of README.md, told to run on WASM. */
async function readmeExample(): Promise<string> {
  const readme = await Deno.readTextFile(join(REPOSITORY, "README.md"));
  const block = readme.match(/^```ts\n(.*?)^```$/ms)?.[1] ?? "";
  const use = /\buse\([^)]*"wasm"[^)]*\)/;
  assertMatch(block, use);
  return block.replace(use, 'use("wasm")');
}

Deno.test("README's example runs from JSR, and offline after the first run", async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "tenon-jsr-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const registry = startRegistry(await loadStd());
  stack.use(registry);

  const env = { JSR_URL: registry.url, DENO_DIR: join(folder, "cache") };
  await deno(["publish", "--token", "any", "--allow-dirty"], REPOSITORY, env);

  const name = `jsr:${config.name}@${config.version}`;
  await Deno.writeTextFile(join(folder, "deno.json"), JSON.stringify({ imports: { [config.name]: name } }));
  await Deno.writeTextFile(join(folder, "example.ts"), await readmeExample());
  const online = await deno(["run", "--no-prompt", "example.ts"], folder, env);

  await registry[Symbol.asyncDispose]();
  const offline = await deno(["run", "--no-prompt", "--cached-only", "example.ts"], folder, env);
  assertEquals(offline, online);
});
