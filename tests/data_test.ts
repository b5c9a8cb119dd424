import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import * as tn from "../mod.ts";
import {
  batches,
  type BatchesOptions,
  categories,
  charactersOf,
  count,
  type Dataset,
  divide,
  type HostArray,
  hostArray,
  numbers,
  parseCsv,
  type Position,
  random,
  randomShift,
  readBytes,
  readCsv,
  readIdx,
  readText,
  slice,
  stepsPerEpoch,
  streams,
  take,
  toFloat,
  vocabulary,
} from "../train/data.ts";
import { testOnEach } from "./devices.ts";

await tn.use("cpu");

/** Examples whose first array names them, with two elements each; the label is their number. */
function numbered(n: number) {
  return {
    x: hostArray(Float32Array.from({ length: 2 * n }, (_, i) => Math.floor(i / 2) + (i % 2) / 10), { shape: [n, 2] }),
    label: hostArray(Uint8Array.from({ length: n }, (_, i) => i)),
  };
}

/** The labels of each batch. */
async function labels<D extends Dataset>(dataset: D, options: BatchesOptions<D>): Promise<number[][]> {
  const all: number[][] = [];
  for await (using batch of batches(dataset, options)) all.push([...await batch.label.data()]);
  return all;
}

testOnEach("batches hold each example once, arrays together, and are freed by using", async (backend) => {
  await tn.use(backend);
  const before = tn.memory().tensors, seen: number[] = [];
  for await (using batch of batches(numbered(7), { size: 3, key: 5, prefetch: 2 })) {
    const { x, label } = batch;
    assertEquals([x.backend.name, x.dtype, label.dtype], [backend, "f32", "i32"]);
    const own = [...await label.data()];
    const expected = new Float32Array(own.flatMap((i) => [i, i + 0.1]));
    assertEquals(await x.data(), expected);
    seen.push(...own);
  }
  assertEquals(seen.toSorted((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6]);
  assertEquals(tn.memory().tensors, before);
  await tn.use("cpu");
});

Deno.test("the order depends on the key and the epoch", async () => {
  const dataset = numbered(50), options = { size: 50, key: 1 };
  const first = await labels(dataset, options);
  assertEquals(await labels(dataset, options), first);
  const key = tn.key(1);
  assertEquals(await labels(dataset, { ...options, key }), first);
  key.threefry.dispose();
  assertNotEquals(await labels(dataset, { ...options, key: 2 }), first);
  assertNotEquals(await labels(dataset, { ...options, at: { epoch: 1, step: 0 } }), first);
  assertEquals((await labels(dataset, { size: 50 }))[0].slice(0, 3), [0, 1, 2]);
});

Deno.test("an epoch that begins at a step goes on as the whole one", async () => {
  const dataset = numbered(23);
  const map = (batch: typeof dataset, { integer }: { integer(limit: number): number }) => ({
    x: batch.x,
    label: hostArray(Int32Array.from(batch.label.data, (label) => label + 100 * integer(1000))),
  });
  const read = async (at: Position) => {
    const all: number[][] = [];
    for await (using batch of batches(dataset, { size: 4, key: 9, map, at })) all.push([...await batch.label.data()]);
    return all;
  };
  const whole = await read({ epoch: 3, step: 0 });
  assertEquals(whole.map((batch) => batch.length), [4, 4, 4, 4, 4, 3]);
  for (const step of [1, 4, 6]) assertEquals(await read({ epoch: 3, step }), whole.slice(step));
});

Deno.test("dropLast leaves the batch out that is not full", async () => {
  assertEquals(await labels(numbered(7), { size: 3, dropLast: true }), [[0, 1, 2], [3, 4, 5]]);
  assertEquals(stepsPerEpoch(numbered(7), { size: 3 }), 3);
});

Deno.test("a loop that is left early, and one whose map fails, keep no tensors", async () => {
  const before = tn.memory().tensors;
  for await (using _ of batches(numbered(20), { size: 2, prefetch: 3 })) {
    await new Promise((resolve) => setTimeout(resolve, 5)); // batches are made ahead
    break;
  }
  assert(tn.memory().tensors <= before);
  const map = (batch: ReturnType<typeof numbered>) => {
    if (batch.label.data[0] >= 4) throw new Error("no more");
    return batch;
  };
  let seen = 0;
  await assertRejects(
    async () => {
      for await (using _ of batches(numbered(20), { size: 2, map })) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        seen++;
      }
    },
    Error,
    "no more",
  );
  assertEquals(seen, 2);
  assert(tn.memory().tensors <= before); // less where the collector frees what an earlier test forgot
});

Deno.test("while a step runs, the next batch is made", async () => {
  const made: number[] = [];
  const map = (batch: ReturnType<typeof numbered>) => (made.push(batch.label.data[0]), batch);
  for await (using _ of batches(numbered(9), { size: 3, map })) {
    if (made.length > 1) continue;
    assertEquals(made, [0]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(made, [0, 3]);
  }
  assertEquals(made, [0, 3, 6]);
});

Deno.test("an interface of one's own is a dataset", async () => {
  interface Points {
    readonly at: HostArray;
  }
  const points: Points = { at: hostArray([1, 2, 3]) };
  const last: Points = slice(points, { start: 2 });
  for await (using batch of batches(last, { size: 1 })) assertEquals(await batch.at.array(), [3]);
});

Deno.test("a batch is a plain tree for compile", async () => {
  const total = tn.compile(({ x, label }: Record<"x" | "label", tn.Tensor>) => tn.add(tn.sum(x), tn.sum(label)));
  const mean = (dataset: Dataset) => ({ x: toFloat(dataset.x), label: toFloat(dataset.label) });
  for await (using batch of batches(numbered(3), { size: 3, map: mean })) {
    assertEquals(Object.keys(batch), ["x", "label"]);
    using sum = total(batch);
    assertEquals((await sum.item()).toFixed(3), "9.300");
  }
});

Deno.test("datasets are divided without losing or repeating an example", async () => {
  const [a, b] = await divide(numbered(10), { fraction: 0.7, key: 3 });
  assertEquals([count(a), count(b)], [7, 3]);
  assertEquals([...a.label.data, ...b.label.data].sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assertEquals([...a.x.data.subarray(0, 2)], [...Float32Array.of(a.label.data[0], a.label.data[0] + 0.1)]);
  const [first] = await divide(numbered(10), { fraction: 0.2 });
  assertEquals([...first.label.data], [0, 1]);
});

Deno.test("host numbers are threefry's: those of tn.randomBits with the same key", async () => {
  const { uniform } = random(42);
  // the words of counter 0, which `split` shows
  const [first] = tn.split(tn.key(42), 2);
  assertEquals([uniform(), uniform()].map((u) => u * 2 ** 32), [...await first.threefry.data()]);
});

Deno.test("host numbers are spread as they should be", () => {
  const { uniform, integer, normal, permutation } = random(7);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value) / values.length;
  const draw = (f: () => number) => Array.from({ length: 20000 }, f);
  const normals = draw(normal);
  assert(Math.abs(mean(draw(uniform)) - 0.5) < 0.01);
  assert(Math.abs(mean(normals)) < 0.02 && Math.abs(mean(normals.map((x) => x * x)) - 1) < 0.03);
  assertEquals(new Set(draw(() => integer(5))), new Set([0, 1, 2, 3, 4]));
  assertEquals([...permutation(100)].sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
});

Deno.test("shifted images keep their pixels, moved together", () => {
  const image = Float32Array.from({ length: 2 * 4 * 3 }, (_, i) => i + 1); // [1, 2, 4, 3]
  const fixed = (...ways: number[]) => ({ ...random(0), integer: () => ways.shift()! });
  const shift = (down: number, right: number) =>
    randomShift(hostArray(image, { shape: [1, 2, 4, 3] }), { random: fixed(down + 4, right + 4), pixels: 4, fill: -1 });
  assertEquals(shift(0, 0).data, image);
  const { data } = shift(1, -1);
  assertEquals([...data.subarray(0, 12)], [-1, -1, -1, 2, 3, -1, 5, 6, -1, 8, 9, -1]);
  assertEquals([...data.subarray(12)], [-1, -1, -1, 14, 15, -1, 17, 18, -1, 20, 21, -1]);
  assertEquals([...shift(-2, 1).data.subarray(0, 12)], [-1, 7, 8, -1, 10, 11, -1, -1, -1, -1, -1, -1]);
  assert(shift(4, 0).data.every((value) => value === -1) && shift(0, -4).data.every((value) => value === -1));
});

/** The bytes of an IDX file. */
function idx(type: number, shape: readonly number[], data: readonly number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(0, 0, type, shape.length, ...shape.flatMap((side) => [0, 0, side >> 8, side & 255]), ...data);
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

Deno.test("IDX files of every type are read, compressed or not, from bytes, path and URL", async () => {
  const bytes = idx(8, [2, 3], [1, 2, 3, 4, 5, 255]);
  const expected = { data: Uint8Array.of(1, 2, 3, 4, 5, 255), shape: [2, 3] };
  assertEquals(await readIdx(bytes), expected);
  assertEquals(await readIdx(await gzip(bytes)), expected);
  const folder = await Deno.makeTempDir();
  const path = join(folder, "images-idx2-ubyte.gz");
  await Deno.writeFile(path, await gzip(bytes));
  assertEquals(await readIdx(path), expected);
  assertEquals(await readIdx(new URL(`file://${path}`)), expected);
  assertEquals(await readIdx(`data:application/octet-stream;base64,${bytes.toBase64()}`), expected);
  await Deno.remove(folder, { recursive: true });

  const numbers = async (type: number, data: number[], n: number) => [...(await readIdx(idx(type, [n], data))).data];
  assertEquals(await numbers(9, [255, 1], 2), [-1, 1]);
  assertEquals(await numbers(11, [255, 254, 1, 0], 2), [-2, 256]);
  assertEquals(await numbers(12, [255, 255, 255, 253], 1), [-3]);
  assertEquals(await numbers(13, [0xc0, 0x20, 0, 0], 1), [-2.5]);
  assertEquals(await numbers(14, [0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18], 1), [Math.fround(Math.PI)]);
});

const BROKEN: Record<string, [make: () => Promise<unknown>, message: string]> = {
  "no IDX file": [
    () => readIdx(new TextEncoder().encode("<html>")),
    "Cannot read 6 bytes: it is no IDX file, which begins with two zeros and the number of a type",
  ],
  "a truncated IDX file": [
    () => readIdx(idx(8, [2, 3], [1, 2, 3, 4])),
    "Cannot read 16 bytes: truncated: shape [2,3] takes 18 bytes, 16 are there",
  ],
  "a truncated header": [
    () => readIdx(idx(8, [2, 3], []).subarray(0, 9)),
    "Cannot read 9 bytes: truncated: a header of 12 bytes, 9 are there",
  ],
  "a longer IDX file": [
    () => readIdx(idx(8, [1], [1, 2])),
    "Cannot read 10 bytes: shape [1] takes 9 bytes, 10 are there",
  ],
  "a missing file": [() => readText("none.txt"), "Cannot read none.txt: there is no such file"],
  "a damaged gzip file": [() => readBytes(Uint8Array.of(0x1f, 0x8b, 0, 1, 2)), "Cannot read 5 bytes: "],
  "a missing address": [() => readText("http://127.0.0.1:1/x"), "Cannot read http://127.0.0.1:1/x: "],
  "a ragged CSV file": [
    () => readCsv("data:text/csv,a,b%0A1,2%0A3"),
    "Cannot read data:text/csv,a,b%0A1,2%0A3: line 3 has 1 fields, the first one 2",
  ],
};

for (const [what, [make, message]] of Object.entries(BROKEN)) {
  Deno.test(`${what} is named`, async () => {
    const { message: found } = await assertRejects(make, Error);
    assert(found.startsWith(message), found);
  });
}

Deno.test("CSV as RFC 4180 has it", () => {
  const text = 'name,"the\r\nsize",note\r\n"a ""b"", c",1.5,\r\n\r\nd,-2e3,"x\ny"\n"",0,z';
  const table = parseCsv(text);
  assertEquals(table.columns, ["name", "the\r\nsize", "note"]);
  assertEquals(table.rows, [['a "b", c', "1.5", ""], ["d", "-2e3", "x\ny"], ["", "0", "z"]]);
  assertEquals(numbers(table, ["the\r\nsize"]), hostArray([[1.5], [-2000], [0]]));
  const { labels, names } = categories(parseCsv("1;b\n2;a\n3;b", { separator: ";", header: false }), "1");
  assertEquals([[...labels.data], names], [[1, 0, 1], ["a", "b"]]);
  assertEquals(parseCsv(""), { columns: [], rows: [] });
  for (const width of [1, 2, 3]) {
    const row = Array.from({ length: width }, (_, i) => `"${i}"`).join(",");
    assertEquals(parseCsv(`${row}\n${row}\n`).rows.length, 1);
  }
});

Deno.test("CSV that is out of order is named by line", () => {
  const message = (text: string) => assertThrows(() => parseCsv(text), tn.FormatError).message;
  assertEquals(message("a,b\n1,2\n1,2,3\n"), "line 3 has 3 fields, the first one 2");
  assertEquals(message('a\n"x\ny"z\n'), 'line 3 has "z" after a quotation mark that closes a field');
  assertEquals(message('a\nx"y\n'), "line 2 has a quotation mark inside a field without any");
  assertEquals(message('a\n"xy\nz\n'), "the quotation mark that opens a field in line 2 is never closed");
  assertThrows(() => numbers(parseCsv("a\nx"), ["a"]), tn.FormatError, 'Cannot read "x" as a number: row 0 of column');
  assertThrows(() => numbers(parseCsv("a\n1"), ["b"]), tn.ArgumentError, 'Cannot find the column "b": there are a');
});

Deno.test("mistakes in datasets and batches are named", async () => {
  const dataset = numbered(3);
  const ragged = { a: hostArray([1, 2]), b: hostArray([1]) };
  assertThrows(() => count(ragged), tn.ShapeError, 'Cannot use 1 examples of "b" with 2 of "a"');
  assertThrows(() => count({}), tn.ArgumentError);
  assertThrows(() => take(dataset, [3]), tn.ArgumentError, "Cannot take example 3: they are numbered from 0 to 2");
  assertThrows(() => batches(dataset, { size: 0 }), tn.ArgumentError, "Cannot make batches of 0");
  assertThrows(() => batches(dataset, { size: 4, dropLast: true }), tn.ArgumentError, "there are 3 examples");
  assertThrows(
    () => batches(dataset, { size: 2, at: { epoch: 0, step: 3 } }),
    tn.ArgumentError,
    "an epoch has 2 steps",
  );
  assertThrows(() => hostArray([[1, 2], [3]]), tn.ShapeError);
  assertThrows(() => random(-1), tn.ArgumentError);
  await assertRejects(() => divide(dataset, { fraction: 2 }), tn.ArgumentError);
});

Deno.test("characters sort by code point, and those outside the first plane are one", () => {
  assertEquals(charactersOf("a😀ｚ"), ["a", "ｚ", "😀"]);
  const { encode, decode, size } = vocabulary(charactersOf("a😀ｚ"));
  assertEquals([size, decode(encode("😀a")), [...encode("ｚ")]], [3, "😀a", [1]]);
  assertThrows(() => encode("b"), tn.ArgumentError, 'Cannot encode "b": the text never has it');
});

Deno.test("streams read on where they were", async () => {
  const dataset = streams(Int32Array.from({ length: 32 }, (_, i) => i), { batch: 3, length: 4 });
  const rows: number[][] = [[], [], []];
  for await (using batch of batches(dataset, { size: 3 })) {
    const [tokens, targets] = [await batch.tokens.array(), await batch.targets.array()] as number[][][];
    tokens.forEach((row, b) => rows[b].push(...row));
    assertEquals(targets.map((row) => row[0]), tokens.map((row) => row[1]));
  }
  assertEquals(rows, [[0, 1, 2, 3, 4, 5, 6, 7], [10, 11, 12, 13, 14, 15, 16, 17], [20, 21, 22, 23, 24, 25, 26, 27]]);
});
