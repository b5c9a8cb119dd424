/** The tables of README, which benches fill in. @module */
import { assertEquals, assertRejects } from "@std/assert";
import { fillFile, fillTables } from "../bench/readme.ts";

const table = {
  title: "Speed",
  columns: ["", "Tenon", "PyTorch"],
  rows: [["matmul", "1.00 ms", "2.00 ms (2.00x)"], ["gelu", "3.00 ms", ""]],
  notes: ["a machine"],
};

const text = (lines: string) => `before\n\n<!-- bench speed -->\n${lines}\n<!-- end of bench -->\n\nafter\n`;

Deno.test("README: a table without rows gets all of them", () => {
  const filled = fillTables(text(""), new Map([["speed", table]]));
  const rows = `
|        |   Tenon |         PyTorch |
| ------ | ------: | --------------: |
| matmul | 1.00 ms | 2.00 ms (2.00x) |
| gelu   | 3.00 ms |                 |

- a machine
`;
  assertEquals(filled, text(rows));
  assertEquals(fillTables(filled, new Map([["speed", table]])), filled, "the same once more");
});

Deno.test("README: rows stay those that are there, and keep what was not timed", () => {
  const old = `
| WASM   | Tenon | jax-js |
| ------ | ----: | -----: |
| conv   |  7 ms |   9 ms |
| matmul |  8 ms |   9 ms |

- an older machine
`;
  const rows = `
| WASM   |   Tenon |         PyTorch | jax-js |
| ------ | ------: | --------------: | -----: |
| conv   |    7 ms |                 |   9 ms |
| matmul | 1.00 ms | 2.00 ms (2.00x) |        |

- an older machine
`;
  assertEquals(fillTables(text(old), new Map([["speed", table]])), text(rows));
  assertEquals(fillTables(text(old), new Map([["startup", table]])), text(old), "another table");
});

Deno.test("README: a file without marks is left as it is", async () => {
  const path = await Deno.makeTempFile({ suffix: ".md" });
  try {
    await Deno.writeTextFile(path, "no tables");
    await assertRejects(() => fillFile(path, new Map([["speed", table]])), Error, "it has no mark");
    assertEquals(await Deno.readTextFile(path), "no tables");
  } finally {
    await Deno.remove(path);
  }
});
