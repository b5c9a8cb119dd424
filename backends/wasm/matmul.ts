import type { OpCall } from "./lowering.ts";
import type { Call } from "./kernel.ts";
export function lowerMatmul(call: OpCall): Call[] {
  return [];
}
