/**
 * Plain data as cache keys.
 *
 * @module
 */

/** Plain data as a string; unlike JSON it tells NaN, the infinities and negative zero apart. */
export function keyOf(data: unknown): string {
  return JSON.stringify(data, (_, value) => {
    if (typeof value !== "number" || (Number.isFinite(value) && !Object.is(value, -0))) return value;
    return Object.is(value, -0) ? "-0" : String(value);
  }) ?? "";
}

const ids = new WeakMap<object, number>();
let count = 0;

/** A number that stands for an object: equal numbers mean the same object. */
export function identityOf(object: object): number {
  let id = ids.get(object);
  if (id === undefined) ids.set(object, id = count++);
  return id;
}
