/**
 * Made-up digits, in the files that MNIST comes in.
 *
 * @module
 */
import { join } from "@std/path";
import { random } from "../train/data.ts";

/** Bytes of an IDX file of bytes. */
function idx(shape: readonly number[], data: Uint8Array): Uint8Array {
  const header = new DataView(new ArrayBuffer(4 + 4 * shape.length));
  header.setUint32(0, 0x0800 + shape.length);
  shape.forEach((size, axis) => header.setUint32(4 + 4 * axis, size));
  const bytes = new Uint8Array(header.byteLength + data.length);
  bytes.set(new Uint8Array(header.buffer));
  bytes.set(data, header.byteLength);
  return bytes;
}

/** Writes images that show a bright row at the height that their label says, with some noise. */
async function writePart(folder: string, part: string, count: number): Promise<void> {
  const { integer } = random(count);
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 10);
  const images = Uint8Array.from({ length: count * 784 }, () => integer(64));
  labels.forEach((label, i) => images.fill(255, i * 784 + (4 + 2 * label) * 28, i * 784 + (5 + 2 * label) * 28));
  await Deno.writeFile(join(folder, `${part}-images-idx3-ubyte`), idx([count, 28, 28], images));
  await Deno.writeFile(join(folder, `${part}-labels-idx1-ubyte`), idx([count], labels));
}

/** Writes digits to learn from (40, if nothing is said) and to be tested on (20). */
export async function writeDigits(
  folder: string,
  { training = 40, test = 20 }: { readonly training?: number; readonly test?: number } = {},
): Promise<void> {
  await writePart(folder, "train", training);
  await writePart(folder, "t10k", test);
}
