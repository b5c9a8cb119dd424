/**
 * Where figures come from.
 *
 * @module
 */
import { cpus } from "node:os";

/** CPU, cores, Deno, as a line. */
export function machine(): string {
  const cores = cpus();
  return `${cores[0].model.trim()}, ${cores.length} cores, Deno ${Deno.version.deno}, ${Deno.build.os}`;
}
