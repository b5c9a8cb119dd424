/** From nothing to the first product read back: Tenon. Prints the milliseconds since the process began. @module */
import { matmul, tensor, use } from "../../mod.ts";
import { uniform } from "../values.ts";

await use("wasm");
const x = tensor(uniform(256 * 256, 1), { shape: [256, 256] });
const y = await matmul(x, x).data();
console.log(JSON.stringify({ time: performance.now(), value: y[0] }));
Deno.exit();
