/**
 * Runs everything that a change must pass, goes on after a failure, and closes with one line a step.
 * @module
 */
import config from "../deno.json" with { type: "json" };
import { deno, surroundings } from "./run.ts";
import { test } from "./test.ts";

await using around = await surroundings();
const { env } = around;

const steps: Readonly<Record<string, () => Promise<number>>> = {
  format: () => deno(["fmt", "--check"], env),
  lint: () => deno(["lint"], env),
  types: () => deno(["check", "."], env),
  docs: () => deno(["doc", "--lint", ...Object.values(config.exports)], env),
  publish: () => deno(["publish", "--dry-run", "--allow-dirty"], env),
  tests: () => test([], env),
};

const results: string[] = [];
for (const [name, step] of Object.entries(steps)) {
  console.log(`\n── ${name}`);
  const start = performance.now();
  const code = await step();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  results.push(`${code === 0 ? "ok    " : "FAILED"}  ${name.padEnd(8)} ${seconds.padStart(6)} s`);
  if (code !== 0) Deno.exitCode = 1;
}
console.log(`\n${results.join("\n")}`);
