/** A stranger's backend: the suite with declared skips, a training run, and nothing from inside. @module */
import { assert } from "@std/assert";
import { skip, train } from "../examples/custom_backend.ts";
import { register } from "./conformance.ts";

register("plain", { skip });

Deno.test("plain: trains a small MLP", async () => {
  const losses = await train();
  assert(losses[losses.length - 1] < losses[0] / 5, losses.join(" "));
});

Deno.test("plain: under 200 lines, and imports nothing but the public modules", async () => {
  const text = await Deno.readTextFile(new URL("../examples/custom_backend.ts", import.meta.url));
  assert(text.trimEnd().split("\n").length < 200);
  const imports = [...text.matchAll(/from "(.+?)"/g)].map(([, name]) => name);
  assert(imports.every((name) => name.startsWith("@tenon/ml")), imports.join(", "));
});
