/**
 * Which backends a test runs on.
 *
 * @module
 */
import { available } from "../mod.ts";

/** Ours, by name. */
export const BACKENDS: readonly string[] = ["cpu", "wasm", "webgpu"];

const works = await available();
const required = (Deno.env.get("TENON_REQUIRE") ?? "").split(",");

/**
 * Registers a test on every backend. Where a backend does not work here its tests show as ignored, never as passed;
 * `TENON_REQUIRE=webgpu` makes them fail instead.
 */
export function testOnEach(name: string, f: (backend: string) => void | Promise<void>): void {
  for (const backend of BACKENDS) testOn(backend, `${backend}: ${name}`, () => f(backend));
}

/** Registers a test on one backend. */
export function testOn(backend: string, name: string, f: () => void | Promise<void>): void {
  Deno.test({ name, ignore: !works.includes(backend) && !required.includes(backend), fn: f });
}
