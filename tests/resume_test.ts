/** Examples that are stopped and resumed end as if they had never been stopped. @module */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import * as tn from "../mod.ts";
import { main as charGpt } from "../examples/char_gpt.ts";
import { main as charRnn } from "../examples/char_rnn.ts";
import { main as gan } from "../examples/gan.ts";
import { main as mnist } from "../examples/mnist.ts";
import { main as names } from "../examples/names.ts";
import { main as vae } from "../examples/vae.ts";
import type { Main } from "../examples/kit/run.ts";
import { NETWORKS, saveNetwork } from "../examples/mnist/networks.ts";
import { writeDigits } from "./digits.ts";

/** Runs a command line, in which FOLDER stands for `folder`, and interrupts it once it shows `until`. */
async function run(
  main: Main,
  args: string,
  { folder, until }: { readonly folder: string; readonly until?: string },
): Promise<{ code: number; text: string }> {
  const interrupt = new AbortController();
  let text = "";
  const write = (part: string) => {
    text += part;
    if (until !== undefined && part.includes(until)) interrupt.abort();
  };
  // on a terminal the first step of a progress shows at once
  const output = { write, live: true, colors: false };
  const code = await main(args.replaceAll("FOLDER", folder).split(" "), output, interrupt.signal);
  return { code, text };
}

/** A folder with all that the examples learn from. */
async function data(): Promise<{ readonly folder: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir();
  await writeDigits(folder);
  await Deno.writeTextFile(join(folder, "text.txt"), "Row, row, row your boat,\n".repeat(40));
  const list = Array.from({ length: 40 }, (_, i) => `n${"aeiou"[i % 5]}${"lmr"[i % 3]}${i % 8}`);
  await Deno.writeTextFile(join(folder, "names.txt"), list.join("\n"));
  await tn.use("wasm");
  const model = NETWORKS.cnn.init(tn.key(0));
  await saveNetwork(join(folder, "judge.safetensors"), { network: "cnn", model, accuracy: 0.1 });
  return { folder, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

/** Hashes of what a run left, but for what tells of the run itself, and for the names that a chart gives to its styles. */
async function results(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const { name } of Deno.readDir(folder)) {
    if (/^(run\.json|checkpoint.*)$/.test(name)) continue;
    const bytes = await Deno.readFile(join(folder, name));
    const own = name.endsWith(".svg")
      ? new TextEncoder().encode(new TextDecoder().decode(bytes).replace(/zr\d+-c(ls-)?\d+/g, ""))
      : bytes;
    files[name] = new Uint8Array(await crypto.subtle.digest("SHA-256", own)).toHex();
  }
  return files;
}

/** Each example, and what it shows where it is stopped: the first step that it takes, or the end of an epoch. */
const EXAMPLES: Record<string, [main: Main, args: string, stops: string[]]> = {
  mnist: [mnist, "--data FOLDER --batch 10 --epochs 2", [" 1/8", " 2/8", " 4/8"]],
  char_gpt: [
    charGpt,
    "--data FOLDER/text.txt --backend cpu --steps 5 --batch 2 --context 8 --layers 1 --heads 2 --channels 8 " +
    "--eval-batches 2 --eval-interval 3 --dropout 0.1 --sample 5",
    [" 0/5", " 1/5", " 3/5"],
  ],
  char_rnn: [
    charRnn,
    "--data FOLDER/text.txt --hidden 8 --batch 4 --length 10 --dropout 0.1 --epochs 2 --sample 5",
    [" 1/46", " 2/46", "23/46"],
  ],
  names: [names, "--data FOLDER/names.txt --epochs 2 --batch 9 --names 2", [" 1/8", "LSTM", " 1/8"]],
  gan: [
    gan,
    "--data FOLDER --kind wgan --classifier FOLDER/judge.safetensors --batch 10 --epochs 2 --judged 10",
    [" 1/8", " 2/8", " 4/8"],
  ],
  vae: [vae, "--data FOLDER --batch 10 --epochs 1 --map-epochs 1", [" 1/4", " 1/4"]], // the second in the map's training
};

for (const [name, [main, args, stops]] of Object.entries(EXAMPLES)) {
  Deno.test(`${name} leaves the same files, bit for bit, if it is stopped and resumed`, async () => {
    await using made = await data();
    const { folder } = made;
    assertEquals((await run(main, `${args} --out FOLDER/whole`, { folder })).code, 0);
    let command = `${args} --out FOLDER/parts`;
    for (const until of stops) {
      const stopped = await run(main, command, { folder, until });
      assertEquals(stopped.code, 0, stopped.text);
      assertStringIncludes(stopped.text, "stopping");
      command = "--resume FOLDER/parts";
    }
    const last = await run(main, command, { folder });
    assertEquals(last.code, 0, last.text);
    assertStringIncludes(last.text, "resumed");
    assertEquals(await results(join(folder, "parts")), await results(join(folder, "whole")));
  });
}

Deno.test("a run that is complete gives its results again", async () => {
  await using made = await data();
  const { folder } = made, out = join(folder, "out");
  await run(mnist, "--data FOLDER --batch 10 --epochs 1 --out FOLDER/out", { folder });
  const before = await results(out);
  assertEquals((await run(mnist, "--resume FOLDER/out", { folder })).code, 0);
  assertEquals(await results(out), before);
});

Deno.test("what cannot be resumed ends in an error of one line", async () => {
  await using made = await data();
  const { folder } = made, out = join(folder, "out"), checkpoint = join(out, "checkpoint.safetensors");
  const begun = "--data FOLDER --batch 10 --epochs 2 --out FOLDER/out";
  const stopped = await run(mnist, begun, { folder, until: " 1/8" });
  assertStringIncludes(stopped.text, `deno task example examples/mnist.ts --resume ${out}`);
  const mistake = async (main: Main, args: string, message: string) => {
    const { code, text } = await run(main, args, { folder });
    assertEquals(code, 1, text);
    assertStringIncludes(text, `error: ${message.replaceAll("FOLDER", folder)}`);
  };
  const resume = "--resume FOLDER/out";
  await mistake(mnist, "--resume FOLDER", "Cannot resume FOLDER: no run was begun there, it has no run.json");
  await mistake(vae, resume, "Cannot resume FOLDER/out: it is a run of `deno task example examples/mnist.ts`");
  await mistake(mnist, `${resume} --batch 20`, "Cannot resume FOLDER/out with --batch 20: it was begun with 10");
  await mistake(mnist, `${resume} --images 20`, "Cannot resume FOLDER/out with --images 20: it was begun without it");

  const bytes = await Deno.readFile(checkpoint);
  await Deno.writeFile(checkpoint, bytes.subarray(0, bytes.length - 4));
  await mistake(mnist, resume, `Cannot load a checkpoint from ${checkpoint}: Cannot read safetensors: truncated`);
  await Deno.writeFile(checkpoint, bytes);
  const record = await Deno.readTextFile(join(out, "run.json"));
  await Deno.writeTextFile(join(out, "run.json"), record.replace('"cnn"', '"resnet"'));
  await mistake(mnist, resume, `Cannot load a checkpoint from ${checkpoint}: "training.model.params.`);
  await Deno.writeTextFile(join(out, "run.json"), "{}");
  await mistake(mnist, resume, "Cannot resume FOLDER/out: run.json is no record of a run");
  await Deno.writeTextFile(join(out, "run.json"), "{");
  await mistake(mnist, resume, "Cannot resume FOLDER/out: run.json is damaged: ");

  assertEquals((await run(mnist, begun, { folder, until: "digits" })).code, 0); // a new run in the same folder
  assert(!(await results(out))["checkpoint.safetensors"]);
  assertEquals([...Deno.readDirSync(out)].filter(({ name }) => name.startsWith("checkpoint")), []);
});
