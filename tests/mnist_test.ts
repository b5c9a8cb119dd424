import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import * as tn from "../mod.ts";
import { main } from "../examples/mnist.ts";
import { features, labels, loadClassifier, obtainClassifier } from "../examples/mnist/classifier.ts";
import { loadMnist } from "../examples/kit/mnist.ts";
import { writeDigits } from "./digits.ts";

/** Runs the example on made-up digits in a folder of its own, and interrupts it once it has printed `until`. */
async function run(
  args: string,
  until?: string,
): Promise<{ code: number; text: string; folder: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir(), interrupt = new AbortController();
  await writeDigits(folder);
  let text = "";
  const write = (part: string) => {
    text += part;
    if (until !== undefined && part.includes(until)) interrupt.abort();
  };
  const code = await main(args.replaceAll("FOLDER", folder).split(" "), { write, live: false }, interrupt.signal);
  return { code, text, folder, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

const TINY = "--data FOLDER --out FOLDER/out --batch 10 --epochs 2 --shift 0";

Deno.test("the example trains, tests, saves, and draws what it got wrong", async () => {
  await using made = await run(TINY);
  assertEquals(made.code, 0, made.text);
  for (const words of ["40 to learn, 20 to test", "step 4/8", "step 8/8", "read as", "accuracy"]) {
    assertStringIncludes(made.text, words);
  }
  for (const name of ["loss.svg", "confusion.svg", "mistakes.svg"]) {
    assert((await Deno.readTextFile(join(made.folder, "out", name))).startsWith("<svg"), name);
  }

  const classifier = await loadClassifier(join(made.folder, "out", "model.safetensors"));
  assert(classifier);
  const { test } = await loadMnist(made.folder);
  const images = tn.tensor(Float32Array.from(test.images.data, (byte) => byte / 255), { shape: test.images.shape });
  assertEquals(features(classifier, images).shape, [20, 128]);
  const read = await labels(classifier, images).data();
  const right = read.filter((label, i) => label === test.labels.data[i]).length;
  assertEquals(right / 20, classifier.accuracy);
  assertStringIncludes(made.text, `${20 - right} of 20 read wrong`);
});

Deno.test("the same seed gives the same model, also of a residual network", async () => {
  await using a = await run(`${TINY} --model resnet --seed 3`);
  await using b = await run(`${TINY} --model resnet --seed 3`);
  await using c = await run(`${TINY} --model resnet --seed 4`);
  assertEquals(a.code, 0, a.text);
  assertStringIncludes(a.text, "residual blocks");
  const losses = ({ text }: { text: string }) => [...text.matchAll(/loss (\S+)/g)].map(([, loss]) => loss);
  assertEquals(losses(a), losses(b));
  assert(losses(a).join() !== losses(c).join());
  assertEquals(await loadClassifier(join(a.folder, "out", "model.safetensors")), null);
});

Deno.test("an interrupt ends training early and keeps the weights", async () => {
  await using stopped = await run(TINY.replace("--epochs 2", "--epochs 100000"), "4/400000");
  assertEquals(stopped.code, 0, stopped.text);
  assertStringIncludes(stopped.text, "stopping");
  assertStringIncludes(stopped.text, "step      4/400000");
  assert(!stopped.text.includes("step     12/400000"));
  assert(await loadClassifier(join(stopped.folder, "out", "model.safetensors")));
});

Deno.test("without a saved classifier, one is trained", async () => {
  const folder = await Deno.makeTempDir();
  await writeDigits(folder, { training: 512 });
  await tn.use("wasm");
  const parts: number[] = [], mnist = await loadMnist(folder);
  const path = join(folder, "model.safetensors");
  const classifier = await obtainClassifier({ mnist, path, onProgress: (part) => parts.push(part) });
  assertEquals(parts, [0, 0.25, 0.5, 0.75, 1]);
  assert(classifier.accuracy >= 0 && classifier.accuracy <= 1);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("mistakes end in an error of one line", async () => {
  for (
    const [args, message] of [
      ["--model gpt", 'error: Cannot use --model "gpt"'],
      ["--data FOLDER/none", "error: Cannot find "],
      ["--data FOLDER --out FOLDER/out --batch 41", "error: Cannot make full batches of 41: there are 40 examples"],
    ]
  ) {
    await using result = await run(args);
    assertEquals(result.code, 1, result.text);
    assertStringIncludes(result.text, message);
  }
});
