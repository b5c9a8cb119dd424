/**
 * Fast loops over functions that are passed in.
 *
 * @module
 */

/**
 * A family of copies of `loop`, one for every use, which is known by a name.
 *
 * Engines keep what they learn about a function with its source text. A loop that has been given several functions must
 * call them, boxing every number; one that has only ever been given one inlines it and is ten times as fast.
 *
 * @param loop A function that refers to nothing outside itself.
 */
export function specialized<Loop>(loop: Loop): (use: string) => Loop {
  const copies = new Map<string, Loop>();
  return (use) => {
    if (!copies.has(use)) copies.set(use, copy(loop, use));
    return copies.get(use)!;
  };
}

function copy<Loop>(loop: Loop, use: string): Loop {
  try {
    return new Function(`return /* ${use} */ ${loop}`)() as Loop;
  } catch {
    return loop; // a page whose security policy allows no generated code
  }
}
