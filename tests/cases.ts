/**
 * The one table of cases: every public op, with the inputs it is proved on. An op without a row does not compile.
 *
 * @module
 */
import type * as ops from "../ops/mod.ts";
import type { Case } from "./cases/case.ts";
import { elementwise } from "./cases/elementwise.ts";
import { image } from "./cases/image.ts";
import { index } from "./cases/index.ts";
import { layer } from "./cases/layer.ts";
import { random } from "./cases/random.ts";
import { recurrent } from "./cases/recurrent.ts";
import { reduce } from "./cases/reduce.ts";
import { shape } from "./cases/shape.ts";

/** Name of a public op. */
export type OpName = keyof typeof ops;

/** Cases by op. */
export const cases: Record<OpName, readonly Case[]> = {
  ...shape,
  ...elementwise,
  ...reduce,
  ...index,
  ...image,
  ...layer,
  ...recurrent,
  ...random,
} satisfies Record<OpName, readonly Case[]>;
