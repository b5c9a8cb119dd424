import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { main } from "../examples/vae.ts";
import { readSafetensors } from "../io/safetensors.ts";
import { writeDigits } from "./digits.ts";

/** Runs the example on made-up digits in a folder of its own. */
async function run(
  args: string,
  interrupt = new AbortController().signal,
): Promise<{ code: number; text: string; folder: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir();
  await writeDigits(folder);
  let text = "";
  const output = { write: (part: string) => text += part, live: false };
  const code = await main(args.replaceAll("FOLDER", folder).split(" "), output, interrupt);
  return { code, text, folder, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

const TINY = "--data FOLDER --out FOLDER/out --batch 10 --epochs 1 --map-epochs 1";

/** What the test found. */
const boundOf = (text: string) => text.match(/(\d+\.\d\d nats) negative/)?.[1];

async function filesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) names.push(name);
  return names.filter((name) => !/^(checkpoint|run)/.test(name)).sort();
}

Deno.test("the example trains two models, tests, saves and draws; what it saved gives the same again", async () => {
  await using made = await run(TINY);
  assertEquals(made.code, 0, made.text);
  for (
    const words of ["40 to learn from, 20 to be tested on", "20 latents", "step 4/4", "of 2 latents", "negative ELBO"]
  ) {
    assertStringIncludes(made.text, words);
  }
  const out = join(made.folder, "out");
  assertEquals(await filesIn(out), [
    "classes.svg",
    "learning.png",
    "loss.svg",
    "map.png",
    "model.safetensors",
    "reconstructions.png",
    "samples.png",
  ]);
  const { metadata } = await readSafetensors(join(out, "model.safetensors"));
  assertEquals(JSON.parse(metadata.config).latents, 20);

  const samples = await Deno.readFile(join(out, "samples.png"));
  assertEquals([...samples.subarray(1, 4)], [..."PNG"].map((letter) => letter.charCodeAt(0)));
  let text = "";
  const args = ["--from", join(out, "model.safetensors"), "--data", made.folder, "--out", join(made.folder, "again")];
  await main(args, { write: (part: string) => text += part, live: false }, new AbortController().signal);
  assertEquals(boundOf(text), boundOf(made.text));
  assertEquals(await Deno.readFile(join(made.folder, "again", "samples.png")), samples);
});

Deno.test("with two latents the model itself is the map, and the same seed gives the same", async () => {
  const args = `${TINY} --latents 2 --binarize threshold --seed`;
  await using a = await run(`${args} 3`);
  await using b = await run(`${args} 3`);
  await using c = await run(`${args} 4`);
  assertEquals(a.code, 0, a.text);
  assert(!a.text.includes("a second model"));
  assertStringIncludes(a.text, "white from half brightness on");
  assert((await filesIn(join(a.folder, "out"))).includes("map.png"));
  assertEquals(boundOf(a.text), boundOf(b.text));
  assert(boundOf(a.text) !== boundOf(c.text));
});

Deno.test("an interrupt ends training early, saves the model and draws its pictures", async () => {
  const interrupt = new AbortController();
  setTimeout(() => interrupt.abort(), 50);
  await using stopped = await run(`${TINY} --epochs 1000000`, interrupt.signal);
  assertEquals(stopped.code, 0, stopped.text);
  assert(!stopped.text.includes("a second model"));
  assertEquals((await filesIn(join(stopped.folder, "out"))).length, 5);
});

Deno.test("a file of something else is refused", async () => {
  await using made = await run("--data FOLDER --from FOLDER/nowhere.safetensors");
  assertEquals(made.code, 1);
  assertStringIncludes(made.text, "Cannot load a model from");
  assertStringIncludes(made.text, "there is no such file");
});
