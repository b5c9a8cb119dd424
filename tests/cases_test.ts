/** The table of cases on every backend, and the oracle's derivatives against differences. @module */
import { use } from "../mod.ts";
import { checkDerivatives } from "./derivative.ts";
import { cases, conformance, type OpName } from "./conformance.ts";
import { BACKENDS, testOn } from "./devices.ts";

for (const op of Object.keys(cases) as OpName[]) {
  const rows = cases[op].filter((row) => "gives" in row);
  Deno.test(`derivatives by differences: ${op}`, async () => {
    await use("cpu");
    const problems: string[] = [];
    for (const row of rows) {
      try {
        checkDerivatives(row);
      } catch (error) {
        problems.push(`${row.name}: ${error instanceof Error ? error.message : error}`);
      }
    }
    if (problems.length > 0) throw new Error(problems.join("\n"));
  });
}

for (const backend of BACKENDS) {
  for (const { name, run } of conformance(backend)) testOn(backend, name, run);
}
