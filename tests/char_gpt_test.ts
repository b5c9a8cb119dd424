import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { readSafetensors } from "../io/safetensors.ts";
import type { Output } from "../train/progress.ts";
import { main } from "../examples/char_gpt.ts";
import { loadText, splitText, spreadStarts, windows } from "../examples/char_gpt/text.ts";

/** Output that is kept, as a file keeps it. */
function recorder(): Output & { text: string } {
  return {
    text: "",
    live: false,
    write(text) {
      this.text += text;
    },
  };
}

const TINY =
  "--backend cpu --steps 4 --batch 2 --context 8 --layers 1 --heads 2 --channels 8 --eval-batches 2 --sample 12"
    .split(" ");

/** Runs the example on a small text in a folder of its own. */
async function run(
  args: readonly string[],
  interrupt = new AbortController().signal,
): Promise<{ code: number; text: string; folder: string } & AsyncDisposable> {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(join(folder, "rhyme.txt"), "Row, row, row your boat,\n".repeat(40));
  const output = recorder();
  const code = await main(args.map((arg) => arg.replace("FOLDER", folder)), output, interrupt);
  return { code, text: output.text, folder, [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
}

const losses = (text: string) => [...text.matchAll(/(?:loss|validation) (\d+\.\d{4})/g)].map(([, loss]) => loss);

Deno.test("the demo trains, saves, draws, writes a sample, and samples again from what it saved", async () => {
  await using first = await run(["--data", "FOLDER/rhyme.txt", "--out", "FOLDER/out", "--eval-interval", "2", ...TINY]);
  assertEquals(first.code, 0, first.text);
  assertStringIncludes(first.text, "rhyme: 1,000 characters, 12 different");
  for (const step of ["0/4", "2/4", "4/4"]) assertStringIncludes(first.text, `step ${step}`);
  assert(!first.text.includes("\x1b"), "no terminal, no escape codes");

  const svg = await Deno.readTextFile(join(first.folder, "out", "loss.svg"));
  assert(svg.startsWith("<svg") && svg.includes("validation"));
  const { metadata, tree } = await readSafetensors(join(first.folder, "out", "model.safetensors"));
  assertEquals(JSON.parse(metadata.config).channels, 8);
  assertEquals((tree as { blocks: unknown[] }).blocks.length, 1);

  const again = recorder();
  const args = ["--from", join(first.folder, "out"), "--sample", "12", "--backend", "cpu"];
  assertEquals(await main(args, again, new AbortController().signal), 0, again.text);
  const sample = (text: string) => text.match(/sample:\n([^]*)\n\(12 characters/)?.[1];
  assertEquals(sample(again.text), sample(first.text));
  assertEquals(sample(first.text)?.length, 12);
});

Deno.test("the same seed gives the same losses, another seed others", async () => {
  const args = ["--data", "FOLDER/rhyme.txt", "--out", "FOLDER/out", ...TINY, "--dropout", "0.1"];
  await using a = await run([...args, "--seed", "7"]);
  await using b = await run([...args, "--seed", "7"]);
  await using c = await run([...args, "--seed", "8"]);
  assertEquals(a.code, 0, a.text);
  assertEquals(losses(a.text), losses(b.text));
  assert(losses(a.text).join() !== losses(c.text).join());
});

Deno.test("a Llama learns in half precision, and writes", async () => {
  await using llama = await run([
    ...["--data", "FOLDER/rhyme.txt", "--out", "FOLDER/out", ...TINY],
    ...["--model", "llama", "--half", "--accumulate", "2", "--top-p", "0.9"],
  ]);
  assertEquals(llama.code, 0, llama.text);
  assertStringIncludes(llama.text, "Llama of ");
  assertStringIncludes(llama.text, "(12 characters");
  assert(losses(llama.text).every((loss) => Number(loss) < 3), llama.text);
});

Deno.test("an interrupt ends training early and keeps the weights", async () => {
  const interrupt = new AbortController();
  setTimeout(() => interrupt.abort(), 50);
  const args = ["--data", "FOLDER/rhyme.txt", "--out", "FOLDER/out", ...TINY, "--steps", "1000000"];
  await using stopped = await run(args, interrupt.signal);
  assertEquals(stopped.code, 0, stopped.text);
  assertStringIncludes(stopped.text, "stopping after this step");
  assert(!stopped.text.includes("sample:"));
  const { metadata } = await readSafetensors(join(stopped.folder, "out", "model.safetensors"));
  assert(Number(metadata.steps) < 1000000);
});

const MISTAKES: Record<string, [args: string[], message: string]> = {
  "an unknown flag": [["--stepz", "3"], "error: Unknown flag --stepz: --help lists those there are"],
  "half a step": [["--steps", "0.5"], 'error: Cannot use --steps "0.5": it takes a whole number of at least 1'],
  "a missing file": [["--data", "none.txt"], "error: Cannot read none.txt: there is no such file"],
  "an unreachable URL": [["--data", "http://127.0.0.1:1/x"], "error: Cannot read http://127.0.0.1:1/x: "],
  "an unknown backend": [
    ["--data", "FOLDER/rhyme.txt", "--out", "FOLDER/out", "--backend", "abacus"],
    "error: Cannot use any of [abacus]: abacus: ",
  ],
  "a text that is too short": [
    ["--data", "FOLDER/rhyme.txt", "--out", "FOLDER/out", "--context", "100"],
    "error: Cannot train on 1000 characters: a context of 100 takes at least 1010, because a tenth is kept for validation",
  ],
  "heads that do not divide": [
    ["--data", "FOLDER/rhyme.txt", "--out", "FOLDER/out", ...TINY, "--heads", "3"],
    "error: Cannot make a GPT of 8 channels and 3 heads: they do not divide evenly",
  ],
  "a prompt in another script": [
    ["--data", "FOLDER/rhyme.txt", "--out", "FOLDER/out", ...TINY, "--prompt", "ж"],
    'error: Cannot encode "ж": the text never has it',
  ],
  "a folder without a model": [
    ["--from", "FOLDER", "--backend", "cpu"],
    "model.safetensors: there is no such file",
  ],
};

for (const [what, [args, message]] of Object.entries(MISTAKES)) {
  Deno.test(`${what} ends in an error of one line`, async () => {
    await using result = await run(args);
    assertEquals(result.code, 1, result.text);
    assertStringIncludes(result.text, message);
    assert(!result.text.includes("    at "), "no stack trace");
  });
}

Deno.test("--help lists every flag with its default", async () => {
  await using help = await run(["--help"]);
  assertEquals(help.code, 0);
  for (const line of ["--data", "--from", "--steps", "(1337)", "Ctrl-C"]) assertStringIncludes(help.text, line);
});

Deno.test("the default text is Moby-Dick", async () => {
  const { name, content } = await loadText(undefined);
  assertEquals(name, "moby-dick");
  assertStringIncludes(content, "Call me Ishmael.");
});

Deno.test("windows are shifted by one character, and none reaches past the end", () => {
  const tokens = Int32Array.from({ length: 100 }, (_, i) => i);
  const { training, validation } = splitText(tokens, 8);
  assertEquals([training.length, validation[0], validation.length], [90, 90, 10]);
  assertEquals(spreadStarts(validation, 2, 8), [0, 1]);
  const batch = windows(validation, [0, 1], 8);
  assertEquals([...batch.tokens.subarray(8)], [91, 92, 93, 94, 95, 96, 97, 98]);
  assertEquals([...batch.targets.subarray(8)], [92, 93, 94, 95, 96, 97, 98, 99]);
});
