/** From nothing to the first product read back: TensorFlow.js. Prints the milliseconds since the process began. @module */
import * as tf from "npm:@tensorflow/tfjs-core@4.22.0";
import "npm:@tensorflow/tfjs-backend-wasm@4.22.0";
import { uniform } from "../values.ts";

await tf.setBackend("wasm");
const x = tf.tensor2d(uniform(256 * 256, 1), [256, 256]);
const y = await tf.matMul(x, x).data();
console.log(JSON.stringify({ time: performance.now(), value: y[0] }));
Deno.exit();
