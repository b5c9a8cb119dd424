/** `vmap` of every op in the cases table, against the op on one example after another. @module */
import { assertEquals, assertThrows } from "@std/assert";
import { cases } from "./cases.ts";
import { type Case, f32, i32, tensorOf, type ValueCase } from "./cases/case.ts";
import { difference } from "./compare.ts";
import { testOnEach } from "./devices.ts";
import * as tn from "../mod.ts";
import type { Tensor } from "../mod.ts";

const EXAMPLES = 3;

/** Which inputs have examples: all of them, then each alone. */
function mappings(count: number): (number | null)[][] {
  const alone = Array.from({ length: count }, (_, i) => Array.from({ length: count }, (_, j) => i === j ? 0 : null));
  return count === 1 ? alone : [new Array(count).fill(0), ...alone];
}

async function compare(row: ValueCase, inAxes: readonly (number | null)[]): Promise<void> {
  const examples = Array.from(
    { length: EXAMPLES },
    (_, e) => row.inputs.map((input, i) => tensorOf(input, 10 * (inAxes[i] === null ? 0 : e) + i)),
  );
  const batch = row.inputs.map((_, i) => inAxes[i] === null ? examples[0][i] : tn.stack(examples.map((e) => e[i])));
  const run = (...xs: Tensor[]): Tensor[] => [row.run(...xs)].flat();
  const outputs = tn.vmap(run, { inAxes })(...batch);
  const expected = examples.map((inputs) => run(...inputs));
  for (const [k, output] of outputs.entries()) {
    const wanted = tn.stack(expected.map((ys) => ys[k]));
    assertEquals([output.dtype, output.shape], [wanted.dtype, wanted.shape]);
    const problem = difference(await output.data(), await wanted.data(), row.tolerance ?? { relative: 1e-5 });
    if (problem) throw new Error(`axes ${JSON.stringify(inAxes)}, output ${k}: ${problem}`);
  }
}

for (const [name, rows] of Object.entries(cases) as [string, readonly Case[]][]) {
  Deno.test(`vmap: ${name}`, async () => {
    await tn.use("cpu");
    for (const row of rows) {
      if ("throws" in row || row.inputs.length === 0) continue;
      for (const inAxes of mappings(row.inputs.length)) {
        try {
          await compare(row, inAxes);
        } catch (error) {
          throw new Error(`${row.name}: ${(error as Error).message}`, { cause: error });
        }
      }
    }
  });
}

/** Example by example, as a loop. */
function each(f: (x: Tensor) => Tensor, xs: Tensor): Tensor {
  return tn.stack(Array.from({ length: xs.shape[0] }, (_, i) => f(tn.squeeze(tn.slice(xs, i, i + 1), 0))));
}

async function assertSame(actual: Tensor, expected: Tensor): Promise<void> {
  assertEquals(actual.shape, expected.shape);
  const problem = difference(await actual.data(), await expected.data(), { relative: 1e-5 });
  if (problem) throw new Error(problem);
}

testOnEach("vmap meets the other transforms", async () => {
  const w = tensorOf(f32([4, 4]), 1), xs = tensorOf(f32([3, 5, 4]), 2);
  const net = (x: Tensor) => {
    const [last] = tn.scan(
      (carry: Tensor, row: Tensor) => {
        const next = tn.tanh(tn.add(tn.matmul(tn.expandDims(carry, 0), w), row));
        return [tn.squeeze(next, 0), null] as const;
      },
      tn.zeros([4]),
      x,
    );
    return tn.sum(tn.softmax(last));
  };
  const gradient = (x: Tensor) => tn.grad((x: Tensor) => tn.sum(tn.square(tn.mul(net(x), x))))(x);
  await assertSame(tn.vmap(gradient)(xs), each(gradient, xs)); // of grad, of scan
  await assertSame(tn.compile(tn.vmap(gradient))(xs), each(gradient, xs)); // in compile
  await assertSame(tn.vmap(tn.compile(gradient))(xs), each(gradient, xs)); // of compile
  const total = (w: Tensor, map: boolean) => {
    const f = (x: Tensor) => tn.sum(tn.square(tn.matmul(x, w)));
    return tn.sum(map ? tn.vmap(f)(xs) : each(f, xs));
  };
  await assertSame(tn.grad(total)(w, true), tn.grad(total)(w, false)); // in grad, of what it closes over
  const outer = tn.vmap(tn.vmap((a: Tensor, b: Tensor) => tn.mul(a, b), { inAxes: [0, null] }), { inAxes: [null, 0] });
  await assertSame(outer(tn.arange(3), tn.arange(4)), tn.mul(tn.reshape(tn.arange(4), [4, 1]), tn.arange(3))); // of vmap
});

testOnEach("vmap takes gradients of an embedding example by example", async () => {
  const table = tensorOf(f32([5, 2]), 1), ids = tensorOf(i32([3, 4], [-5, 5]), 2);
  const loss = (table: Tensor, ids: Tensor) => tn.sum(tn.square(tn.embedding(table, ids)));
  const grads = tn.vmap(tn.grad(loss), { inAxes: [null, 0] })(table, ids);
  await assertSame(grads, each((ids) => tn.grad(loss)(table, ids), ids));
});

testOnEach("vmap takes and gives trees, along any axis", async () => {
  const f = ({ a, b }: { a: Tensor; b: Tensor }, scale: number) => ({ sum: tn.add(a, tn.mul(b, scale)), first: a });
  const a = tensorOf(f32([2, 3]), 1), b = tensorOf(f32([4, 3]), 2);
  const mapped = tn.vmap((a: Tensor, b: Tensor, scale: number) => f({ a, b: tn.sum(b) }, scale), {
    inAxes: [1, -1, null],
    outAxes: 1,
  });
  const { sum, first } = mapped(a, b, 2);
  await assertSame(sum, tn.add(a, tn.mul(tn.sum(b, { axis: 0 }), 2)));
  await assertSame(first, a);
});

Deno.test("vmap says what it cannot map", async () => {
  await tn.use("cpu");
  const add = tn.vmap((a: Tensor, b: Tensor) => tn.add(a, b));
  assertThrows(() => add(tn.zeros([2]), tn.zeros([3])), tn.ShapeError, "Cannot vmap: the axes have sizes 2 and 3");
  assertThrows(() => add(tn.zeros([2]), tn.zeros([])), tn.ShapeError, "Cannot vmap");
  assertThrows(
    () => tn.vmap((a: Tensor) => a, { inAxes: null })(tn.zeros([2])),
    tn.ArgumentError,
    "Cannot vmap: no tensor has an axis that counts examples",
  );
  assertThrows(
    () => tn.vmap((a: Tensor) => a, { inAxes: [0, 0] })(tn.zeros([2])),
    tn.ArgumentError,
    "Cannot vmap 1 arguments along 2 axes: give one for each",
  );
});
