/** When a slice is updated in place, and when it must not be. @module */
import { assertEquals } from "@std/assert";
import * as tn from "../mod.ts";
import { testOnEach } from "./devices.ts";

const at = (place: number) => tn.tensor(place, { dtype: "i32" });
const isCopied = ({ name, bytes }: tn.KernelReport) => name === "updateSlice" && bytes >= 2 * 4 * 4096;

testOnEach("a donated tensor is updated in place, one that is needed again is not", async (backend) => {
  await tn.use(backend);
  const write = (x: tn.Tensor, update: tn.Tensor, start: tn.Tensor) => tn.updateSlice(x, update, start);
  const inPlace = tn.compile(write, { donate: [0] }), apart = tn.compile(write);
  const both = tn.compile((x: tn.Tensor, update: tn.Tensor, start: tn.Tensor) => {
    const y = write(x, update, start);
    return [y, tn.mul(x, 2)] as const; // x is read after it was written
  }, { donate: [0] });

  const x = tn.zeros([4096]), ones = tn.ones([2]);
  const y = apart(x, ones, at(7));
  assertEquals([...await x.data()].indexOf(1), -1);
  assertEquals([...(await y.data()).subarray(6, 10)], [0, 1, 1, 0]);
  const [z, twice] = both(y, ones, at(9));
  assertEquals([...(await z.data()).subarray(6, 12)], [0, 1, 1, 1, 1, 0]);
  assertEquals([...(await twice.data()).subarray(6, 12)], [0, 2, 2, 0, 0, 0]);
  let end = inPlace(z, ones, at(11));
  end = inPlace(end, ones, at(-1));
  const data = await end.data();
  assertEquals([...data.subarray(10, 14)], [1, 1, 1, 0]);
  assertEquals([data[4094], data[4095], data[0]], [0, 1, 0]);
  if (backend !== "cpu") {
    assertEquals(tn.inspect(inPlace).kernels.some(isCopied), false);
    assertEquals(tn.inspect(apart).kernels.some(isCopied), true);
  }
});

testOnEach("a loop updates what it carries", async (backend) => {
  await tn.use(backend);
  const fill = tn.compile((x: tn.Tensor, values: tn.Tensor) => {
    const start = { x, place: tn.zeros([], { dtype: "i32" }) };
    const [{ x: filled }] = tn.scan(
      ({ x, place }, value) => {
        return [{ x: tn.updateSlice(x, tn.reshape(value, [1]), place), place: tn.add(place, 2) }, null];
      },
      start,
      values,
    );
    return filled;
  });
  const filled = await fill(tn.zeros([8]), tn.tensor([1, 2, 3])).array();
  assertEquals(filled, [1, 0, 2, 0, 3, 0, 0, 0]);
});
