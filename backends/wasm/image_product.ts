/**
 * Products with the step's epilogue: what the convolutions have in common.
 *
 * @module
 */
import { size } from "../../core/shape.ts";
import { epilogueOf, storeOnly, withSeparateEpilogue } from "./epilogue.ts";
import type { Call, Ref } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import { callProduct, type Epilogue, fillsTiles, type Product } from "./product.ts";

/** The calls of one product, with the step's epilogue where it has one. */
export function imageProduct(call: OpCall, parts: Omit<Product, "name" | "threads" | "epilogue">): Call[] {
  const rows = size(parts.batch) * parts.rows;
  const run = (plain: OpCall, c: Ref, epilogue: Epilogue | null) => {
    const store = epilogue ?? (fillsTiles(parts.columns) ? null : storeOnly(plain, rows, parts.columns));
    return [callProduct({ ...parts, name: call.name, threads: call.threads, c, epilogue: store })];
  };
  const epilogue = epilogueOf(call, rows, parts.columns);
  if (epilogue !== "separate") return run(call, parts.c, epilogue);
  return withSeparateEpilogue(call, (plain) => run(plain, plain.outputs[0].ref, null));
}
