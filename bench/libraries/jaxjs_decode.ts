/**
 * Decoding with jax-js: keys and values are as large as the context, so that one compiled function serves all lengths.
 *
 * @module
 */
import { type Array as JaxArray, jit, nn, numpy as np, tree } from "npm:@jax-js/jax@0.1.25";
import type { DecodeWorkload } from "../models.ts";
import { sample } from "../values.ts";
import { layerNorm } from "./jaxjs_models.ts";
import type { Params } from "./jaxjs_optimizers.ts";
import { cacheInputs, type Job, modelParameters, stepJob, tokenAt } from "./library.ts";

/** The job of decoding. */
export function decodeJob(workload: DecodeWorkload): Job {
  const params: Params = modelParameters(workload, ({ data, shape }) => np.array(data, { shape: [...shape] }));
  const decode = jit((params: Params, cache: JaxArray[], token: JaxArray, position: JaxArray) =>
    decodeToken(workload, params, cache, token, position)
  );
  let cache: JaxArray[] = [];
  const step = async (number: number) => {
    const { token, position } = tokenAt(workload, number);
    if (position === workload.filled) {
      tree.dispose(cache);
      cache = firstCache(workload);
    }
    const at = [token, position].map((value) => np.array(new Int32Array([value]), { shape: [1] }));
    const [logits, longer] = decode(tree.ref(params), cache, at[0], at[1]);
    cache = longer as JaxArray[];
    return sample(await logits.data());
  };
  return stepJob(step, () => tree.dispose([params, cache]));
}

/** Keys and values `[2, H, context, D]` of each block. */
function firstCache(workload: DecodeWorkload): JaxArray[] {
  const { context, filled } = workload;
  return cacheInputs(workload).map(({ data, shape }) =>
    np.pad(np.array(data, { shape: [...shape] }), [[0, 0], [0, 0], [0, context - filled], [0, 0]])
  );
}

function decodeToken(
  { heads: H, channels: C, context: S }: DecodeWorkload,
  params: Params,
  cache: readonly JaxArray[],
  token: JaxArray,
  position: JaxArray,
): [logits: JaxArray, cache: JaxArray[]] {
  const places = np.arange(S), isHere = np.equal(places.ref, position.ref).reshape([S, 1]); // [S, 1]
  const future = np.where(np.greater(places, position.ref), -Infinity, 0); // [S]
  const linear = (x: JaxArray, name: string) => np.matmul(x, params[`${name}.weight`]).add(params[`${name}.bias`]);
  const norm = (x: JaxArray, name: string) => layerNorm(x, params[`${name}.scale`], params[`${name}.shift`]);
  let x = params.token.ref.slice(token).add(params.position.slice(position)); // [1, C]
  const longer = cache.map((block, i) => {
    const own = (name: string) => `blocks.${i}.${name}`;
    const qkv = linear(norm(x.ref, own("norm1")), own("qkv")).reshape([3, H, 1, C / H]);
    const [q, news] = np.split(qkv, [1]); // [1, H, 1, C / H], [2, H, 1, C / H]
    const grown = np.where(isHere.ref, news, block); // [2, H, S, C / H]
    const [keys, values] = np.split(grown.ref, 2).map((part) => part.reshape([H, S, C / H]));
    const scores = np.matmul(q.reshape([H, 1, C / H]), keys.transpose([0, 2, 1])).mul(1 / Math.sqrt(C / H));
    const attended = np.matmul(nn.softmax(scores.add(future.ref), -1), values).reshape([1, C]);
    x = x.add(linear(attended, own("out")));
    x = x.add(linear(nn.gelu(linear(norm(x.ref, own("norm2")), own("up"))), own("down")));
    return grown;
  });
  isHere.dispose();
  future.dispose();
  return [np.matmul(norm(x, "norm"), params.token.transpose()).reshape([-1]), longer];
}
