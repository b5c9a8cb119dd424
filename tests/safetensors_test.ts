import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import * as tn from "../mod.ts";
import {
  decodeSafetensors,
  encodeSafetensors,
  fromNames,
  readSafetensors,
  toNames,
  writeSafetensors,
} from "../io/safetensors.ts";

await tn.use("cpu");

/** A file as the format's page lays it out: header length, header, data. */
function file(header: string, data: readonly number[] | Uint8Array = [], length = header.length): Uint8Array {
  const bytes = new Uint8Array(8 + header.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(new TextEncoder().encode(header), 8);
  bytes.set(data, 8 + header.length);
  return bytes;
}

function fileOf(dtype: string, values: ArrayBufferView, shape: readonly number[]): Uint8Array {
  const data = new Uint8Array(values.buffer);
  return file(JSON.stringify({ x: { dtype, shape, data_offsets: [0, data.length] } }), data);
}

Deno.test("bytes are laid out as the format says", async () => {
  const tree = {
    flag: tn.tensor([true, false, true]),
    blocks: [{ scale: tn.tensor([[1, -2]]) }],
    half: tn.tensor([0.5], { dtype: "f16" }),
    count: tn.tensor(-7, { dtype: "i32" }),
  };
  const bytes = await encodeSafetensors(tree, { metadata: { note: "hello" } });
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assertEquals(length % 8, 0);
  const text = new TextDecoder().decode(bytes.subarray(8, 8 + length));
  assert(/^\{[^]*\} *$/.test(text), "an object, then nothing but spaces");
  assertEquals(JSON.parse(text), {
    __metadata__: { note: "hello" },
    "blocks.0.scale": { dtype: "F32", shape: [1, 2], data_offsets: [0, 8] },
    count: { dtype: "I32", shape: [], data_offsets: [8, 12] },
    half: { dtype: "F16", shape: [1], data_offsets: [12, 14] },
    flag: { dtype: "BOOL", shape: [3], data_offsets: [14, 17] },
  });
  assertEquals([...bytes.subarray(8 + length)], [
    ...[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0], // 1, -2
    ...[0xf9, 0xff, 0xff, 0xff], // -7
    ...[0, 0x38], // 0.5
    ...[1, 0, 1],
  ]);
});

Deno.test("a file written elsewhere is read, unaligned and with a null shape", async () => {
  const header =
    '{"b":{"dtype":"U32","shape":[2],"data_offsets":[1,9]},"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},' +
    '"empty":{"dtype":"F32","shape":[0,3],"data_offsets":[9,9]},"__metadata__":{"format":"pt"}}';
  const { tensors, metadata } = decodeSafetensors(file(header, [1, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]));
  assertEquals(Object.keys(tensors), ["a", "b", "empty"]);
  assertEquals(await tensors.a.array(), [true]);
  assertEquals([tensors.b.dtype, await tensors.b.array()], ["u32", [1, 4294967295]]);
  assertEquals([tensors.empty.dtype, tensors.empty.shape], ["f32", [0, 3]]);
  assertEquals(metadata, { format: "pt" });
});

Deno.test("dtypes that we lack are converted", async () => {
  const cases: [dtype: string, values: ArrayBufferView, read: tn.DType, numbers: number[]][] = [
    ["BF16", new Uint16Array([0x3f80, 0xc040]), "f32", [1, -3]],
    ["F64", new Float64Array([0.1, -2]), "f32", [Math.fround(0.1), -2]],
    ["I64", new BigInt64Array([5n, -(2n ** 31n)]), "i32", [5, -(2 ** 31)]],
    ["U64", new BigUint64Array([0n, 9n]), "i32", [0, 9]],
    ["U8", new Uint8Array([0, 255]), "i32", [0, 255]],
    ["I8", new Int8Array([-128, 127]), "i32", [-128, 127]],
    ["I16", new Int16Array([-300, 300]), "i32", [-300, 300]],
    ["U16", new Uint16Array([65535, 1]), "i32", [65535, 1]],
  ];
  for (const [dtype, values, read, numbers] of cases) {
    const { x } = decodeSafetensors(fileOf(dtype, values, [2])).tensors;
    assertEquals([dtype, x.dtype, await x.array()], [dtype, read, numbers]);
  }
  assertThrows(
    () => decodeSafetensors(fileOf("I64", new BigInt64Array([2n ** 31n]), [1])),
    tn.FormatError,
    'Cannot read tensor "x" as i32: it holds 2147483648, which does not fit',
  );
});

Deno.test("trees come back from a file, and nothing else is left in the folder", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "model.safetensors");
    const tree = { token: tn.tensor([[1, 2]]), blocks: [{ a: tn.tensor(3) }, { a: tn.tensor([4, 5]) }] };
    await Deno.writeTextFile(path, "an older file");
    await writeSafetensors(path, tree, { metadata: { epoch: "1", quote: 'say "ä"\\' } });
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["model.safetensors"]);

    const read = await readSafetensors(path);
    assertEquals(read.metadata, { epoch: "1", quote: 'say "ä"\\' });
    assertEquals(tn.tree.names(read.tree).sort(), tn.tree.names(tree).sort());
    const { blocks } = read.tree as typeof tree;
    assertEquals(await Promise.all(blocks.map(({ a }) => a.array())), [3, [4, 5]]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a write that fails leaves nothing behind", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const lost = tn.tensor([1]);
    lost.dispose();
    await assertRejects(() => writeSafetensors(join(folder, "x.safetensors"), { lost }), tn.DisposedError);
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const x = (fields: Record<string, unknown> = {}) =>
  JSON.stringify({ x: { dtype: "F32", shape: [1], data_offsets: [0, 4], ...fields } });
const pair = (a: [number, number], b: [number, number]) =>
  JSON.stringify({
    a: { dtype: "U8", shape: [a[1] - a[0]], data_offsets: a },
    b: { dtype: "U8", shape: [b[1] - b[0]], data_offsets: b },
  });

const MALFORMED: Record<string, [bytes: Uint8Array, message: string]> = {
  "an empty file": [new Uint8Array(0), "it has 0 bytes, the length of the header alone takes 8"],
  "a huge header": [file("", [], 1e12), "its header would have 1000000000000 bytes, more than 100000000"],
  "a header cut short": [file("{}", [], 50), "truncated in the header: 58 bytes expected, 10 found"],
  "a header that is not JSON": [file("{x}"), "the header is not JSON: "],
  "a header that is not UTF-8": [file("  ").fill(0xff, 8), "the header is not JSON: "],
  "a header that is an array": [file("[]"), "the header is not a JSON object"],
  "a header that begins with a space": [file(" {}"), "the header is not a JSON object"],
  "a name used twice": [file('{"x":{"y":[":{"]},"x":{}}'), 'two tensors are named "x"'],
  "an entry that is a number": [file('{"x":1}'), 'tensor "x" is not described by an object'],
  "an unknown dtype": [file(x({ dtype: "F8_E4M3" })), 'tensor "x" has the dtype "F8_E4M3", known are F32, F16, I32, '],
  "a dtype from Object's prototype": [file(x({ dtype: "toString" })), 'tensor "x" has the dtype "toString", known are'],
  "a negative size": [file(x({ shape: [-1] })), 'tensor "x" has the shape [-1], which is not an array of sizes'],
  "no offsets": [file(x({ data_offsets: null })), 'tensor "x" has the data_offsets null, which are not [begin, end]'],
  "offsets that run backwards": [file(x({ data_offsets: [4, 0] })), 'tensor "x" has the data_offsets [4,0], which are'],
  "a shape that does not fit": [
    file(x({ shape: [3] })),
    'tensor "x" of F32[3] takes 12 bytes, its data_offsets span 4',
  ],
  "data cut short": [file(x(), [0, 0]), "truncated: the tensors take 4 bytes, 2 are there"],
  "data left over": [file(x(), [0, 0, 0, 0, 0]), "the tensors take 4 bytes, but 5 are there"],
  "a hole": [file(pair([0, 1], [2, 3]), [0, 0, 0]), 'there is a hole before tensor "b": bytes 1 to 2 belong to none'],
  "an overlap": [
    file(pair([0, 2], [1, 3]), [0, 0, 0]),
    'tensor "b" begins at byte 1, inside the one before, which ends at 2',
  ],
  "metadata that is no text": [file('{"__metadata__":{"n":1}}'), '__metadata__ "n" is not a string'],
};

for (const [what, [bytes, message]] of Object.entries(MALFORMED)) {
  Deno.test(`refuses ${what}`, () => {
    assertThrows(() => decodeSafetensors(bytes), tn.FormatError, `Cannot read safetensors: ${message}`);
  });
}

Deno.test("names become trees and back", () => {
  const tree = { a: [{ b: 1 }, { b: 2 }], c: { "0": 3, "2": 4 } };
  assertEquals(toNames(tree), { "a.0.b": 1, "a.1.b": 2, "c.0": 3, "c.2": 4 });
  assertEquals(fromNames(toNames(tree)), tree);
  assertThrows(() => toNames({ "a.b": 1, a: { b: 2 } }), tn.ArgumentError, 'two are "a.b"');
  assertThrows(() => fromNames({ a: 1, "a.b": 2 }), tn.ArgumentError, 'Cannot build a tree with "a.b"');
});
