/** From nothing to the first product read back: jax-js. Prints the milliseconds since the process began. @module */
import { defaultDevice, init, numpy as np } from "npm:@jax-js/jax@0.1.25";
import { uniform } from "../values.ts";

await init("wasm");
defaultDevice("wasm");
const x = np.array(uniform(256 * 256, 1), { shape: [256, 256] });
const y = await np.matmul(x.ref, x).data();
console.log(JSON.stringify({ time: performance.now(), value: y[0] }));
Deno.exit();
