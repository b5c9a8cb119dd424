import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { decode } from "npm:fast-png@8.0.0";
import { writeFile } from "../examples/kit/files.ts";
import {
  choice,
  type Command,
  commonFlags,
  helpText,
  number,
  parseFlags,
  text,
  toggle,
  whole,
} from "../examples/kit/flags.ts";
import { loadMnist } from "../examples/kit/mnist.ts";
import { barChart, lineChart, matrixChart, rocChart, scatterChart, smooth } from "../examples/kit/pictures.ts";
import { example, makeFolder } from "../examples/kit/run.ts";
import { imageSheet, labelledSheet } from "../examples/kit/sheets.ts";

const COMMAND = {
  about: "Learns.",
  usage: "deno task example examples/learn.ts [flags]",
  flags: {
    ...commonFlags("learn", 7),
    kind: choice(["lstm", "gru"], "which net"),
    stepSize: number(0.5, "size of a step", { most: 1 }),
    limit: whole(undefined, "at most this many"),
    data: text("PATH  what to learn"),
    quick: toggle("less of everything"),
  },
  notes: "Ctrl-C stops.",
};

Deno.test("flags have defaults, types and names for the command line", () => {
  const none = parseFlags([], COMMAND);
  assertEquals(none, {
    backend: undefined,
    out: undefined,
    resume: undefined,
    seed: 7,
    kind: "lstm",
    stepSize: 0.5,
    limit: undefined,
    data: undefined,
    quick: false,
    help: false,
  });
  const args = ["--kind", "gru", "--step-size=0.25", "--limit", "3", "--data", "7", "--quick", "--seed", "0"];
  const { kind, stepSize, limit, data, quick, seed } = parseFlags(args, COMMAND);
  assertEquals([kind, stepSize, limit, data, quick, seed], ["gru", 0.25, 3, "7", true, 0]);
});

Deno.test("a run that is resumed keeps its flags, but for those that may change at any time", () => {
  const begun = { folder: "runs/learn", flags: { seed: 3, kind: "gru", quick: true, out: "runs/learn" } };
  const { seed, kind, quick, out, backend, stepSize } = parseFlags(["--backend", "cpu", "--seed=3"], COMMAND, begun);
  assertEquals([seed, kind, quick, out, backend, stepSize], [3, "gru", true, "runs/learn", "cpu", 0.5]);
  const message = (...args: string[]) => assertThrows(() => parseFlags(args, COMMAND, begun), Error).message;
  assertEquals(message("--kind", "lstm"), 'Cannot resume runs/learn with --kind lstm: it was begun with "gru"');
  assertEquals(message("--step-size", "1"), "Cannot resume runs/learn with --step-size 1: it was begun with 0.5");
  assertEquals(message("--limit", "1"), "Cannot resume runs/learn with --limit 1: it was begun without it");
});

Deno.test("flags that make no sense are named", () => {
  const message = (...args: string[]) => assertThrows(() => parseFlags(args, COMMAND), Error).message;
  assertEquals(message("--stepSize", "1"), "Unknown flag --stepSize: --help lists those there are");
  assertEquals(message("--step-size", "2"), 'Cannot use --step-size "2": it takes a number from 0 to 1');
  assertEquals(message("--step-size="), 'Cannot use --step-size "": it takes a number from 0 to 1');
  assertEquals(message("--limit", "0"), 'Cannot use --limit "0": it takes a whole number of at least 1');
  assertEquals(message("--kind", "rnn"), 'Cannot use --kind "rnn": it takes one of lstm, gru');
});

Deno.test("help lists each flag in a row", () => {
  const lines = helpText(COMMAND).split("\n");
  assertEquals(lines.slice(0, 4), ["Learns.", "", "  deno task example examples/learn.ts [flags]", ""]);
  assertEquals(lines.slice(7, 10), [
    "  --seed       the same seed gives the same results (7)",
    "  --kind       lstm|gru  which net (lstm)",
    "  --step-size  size of a step (0.5)",
  ]);
  assertEquals(lines.slice(-3), ["  --help       this text", "", "Ctrl-C stops."]);
});

/** Runs an example on `args`. */
async function run(args: string[], work: () => Promise<void>): Promise<[code: number, text: string]> {
  let text = "";
  const output = { write: (part: string) => text += part, live: false };
  const command: Command<typeof COMMAND["flags"]> = COMMAND;
  return [await example(command, work)(args, output, new AbortController().signal), text];
}

Deno.test("an example says in one line what went wrong", async () => {
  const nothing = () => Promise.resolve();
  assertEquals(await run([], nothing), [0, ""]);
  assertEquals(await run(["--limit", "x"], nothing), [
    1,
    'error: Cannot use --limit "x": it takes a whole number of at least 1\n',
  ]);
  assertEquals(await run([], () => Promise.reject(new Error("It is late"))), [1, "error: It is late\n"]);
  assertStringIncludes((await run(["--help"], nothing))[1], "--step-size");
});

Deno.test("files of results appear whole, in a folder of their own", async () => {
  const folder = await makeFolder({ flags: { out: await Deno.makeTempDir() } }, "learn");
  await writeFile(join(folder, "a.txt"), "text");
  await writeFile(join(folder, "a.txt"), "other");
  assertEquals(await Deno.readTextFile(join(folder, "a.txt")), "other");
  await assertRejects(() => writeFile(join(folder, "none", "a.txt"), "text"), Deno.errors.NotFound);
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["a.txt"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("images become sheets, pixel by pixel", () => {
  const data = [0, 1, 0.5, 0.25, 1, 1, 0, 2]; // two images of 2 x 2
  const red = [255, 0, 0] as const;
  const png = decode(imageSheet({ data, shape: [2, 1, 2, 2] }, { columns: 2, scale: 2, padding: 1, frames: [, red] }));
  assertEquals([png.width, png.height, png.channels], [12, 6, 3]);
  const pixel = (x: number, y: number) => [...png.data.slice((y * 12 + x) * 3, (y * 12 + x) * 3 + 3)];
  assertEquals([pixel(0, 0), pixel(1, 1), pixel(2, 2), pixel(3, 1), pixel(2, 3)], [
    [255, 255, 255],
    [0, 0, 0],
    [0, 0, 0],
    [255, 255, 255],
    [128, 128, 128],
  ]);
  assertEquals([pixel(6, 0), pixel(11, 5), pixel(7, 1), pixel(10, 4), pixel(7, 3)], [
    [255, 0, 0],
    [255, 0, 0],
    [255, 255, 255],
    [255, 255, 255],
    [0, 0, 0],
  ]);
});

Deno.test("images may be bytes, in color, inverted, and fewer than columns", () => {
  const data = Uint8Array.of(10, 20, 30);
  const one = decode(imageSheet({ data, shape: [1, 3, 1, 1] }, { columns: 5, padding: 0 }));
  assertEquals([one.width, [...one.data]], [1, [10, 20, 30]]);
  const inverted = decode(imageSheet({ data, shape: [3, 1, 1, 1] }, { columns: 1, padding: 0, invert: true }));
  assertEquals([inverted.height, [...inverted.data].filter((_, i) => i % 3 === 0)], [3, [245, 235, 225]]);
  assertThrows(() => imageSheet({ data, shape: [3] }), Error, "Cannot draw images of shape [3]");
  assertThrows(() => imageSheet({ data, shape: [1, 1, 2, 2] }), Error, "from 3 values");
});

Deno.test("charts are SVG with what they were given", () => {
  const points = [[0, 1], [1, 0.5]] as const;
  const charts = {
    line: lineChart({ title: "Loss", x: "step", y: "nats", series: [{ name: "training", points, dashed: true }] }),
    roc: rocChart({
      title: "Found",
      curves: [{ name: "AUC 0.9", points: points.map(([x, y]) => ({ falsePositiveRate: x, truePositiveRate: y })) }],
    }),
    scatter: scatterChart({ title: "Plane", classes: [{ name: "zero", points }, { name: "one", points }] }),
    matrix: matrixChart({ title: "Confusion", x: "predicted", y: "digit", values: [[9, 1], [0, 5]] }),
    bars: barChart({ title: "Bars", y: "loss", bars: [{ name: "gru", value: 1.5 }] }),
    labelled: labelledSheet({ data: [0, 1], shape: [2, 1, 1, 1] }, { title: "Mistakes", labels: ["a < b", "2"] }),
  };
  for (const [name, svg] of Object.entries(charts)) assert(svg.startsWith("<svg"), name);
  const expected = {
    line: ["Loss", "step", "nats", "training"],
    roc: ["AUC 0.9", "guessing"],
    scatter: ["zero", "one"],
    matrix: ["predicted", "digit", ">9<"],
    bars: ["gru", "1.5"],
    labelled: ["Mistakes", "a &lt; b", "data:image/png;base64,"],
  };
  for (const [name, texts] of Object.entries(expected)) {
    for (const text of texts) assertStringIncludes(charts[name as keyof typeof charts], text);
  }
  assertEquals(smooth([1, 2, 6], 1), [1.5, 3, 4]);
});

Deno.test("MNIST is complete, by package", async () => {
  const { training, test } = await loadMnist();
  assertEquals([training.images.shape, test.images.shape], [[60000, 1, 28, 28], [10000, 1, 28, 28]]);
  assertEquals([...training.labels.data.subarray(0, 5)], [5, 0, 4, 1, 9]);
  assertEquals([...test.labels.data.subarray(0, 5)], [7, 2, 1, 0, 4]);
  await assertRejects(() => loadMnist("tests/golden"), Error, "Cannot find train-images-idx3-ubyte or");
});
