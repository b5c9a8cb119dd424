/** The examples char_rnn, names and spam, on next to nothing. @module */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { main as writeText } from "../examples/char_rnn.ts";
import { main as makeNames } from "../examples/names.ts";
import { encodeNames, lettersOf } from "../examples/names/list.ts";
import { commonWords, isForTest, type Mail } from "../examples/spam/corpus.ts";
import { wordsOf } from "../examples/spam/mail.ts";
import type { Main } from "../examples/kit/run.ts";

/** Runs a program and returns what it printed. */
async function run(main: Main, args: string[]): Promise<string> {
  let printed = "";
  const output = { write: (text: string) => printed += text, live: false };
  const code = await main([...args, "--backend", "cpu"], output, new AbortController().signal);
  assertEquals(code, 0, printed);
  return printed;
}

async function inFolder(f: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await f(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("char_rnn trains, saves, and writes again what it wrote", () =>
  inFolder(async (folder) => {
    const text = `${folder}/text.txt`, out = `${folder}/out`;
    await Deno.writeTextFile(text, "the cat sat on the mat. ".repeat(60));
    const sizes = ["--hidden", "8", "--batch", "4", "--length", "6", "--epochs", "1", "--sample", "20"];
    const printed = await run(writeText, ["--data", text, "--out", out, ...sizes]);
    assertMatch(printed, /text: 1,440 characters, 11 different/);
    assertStringIncludes(await Deno.readTextFile(`${out}/loss.svg`), "<svg");
    const sample = printed.split("sample:\n")[1].slice(0, 20);
    const again = await run(writeText, ["--from", out, "--sample", "20"]);
    assertStringIncludes(again, `sample:\n${sample}\n`);
  }));

Deno.test("names compares four networks", () =>
  inFolder(async (folder) => {
    const names = `${folder}/names.txt`, out = `${folder}/out`;
    await Deno.writeTextFile(
      names,
      Array.from({ length: 40 }, (_, i) => `n${"aeiou"[i % 5]}${"lmr"[i % 3]}${i % 8}`).join("\n"),
    );
    const printed = await run(makeNames, [
      "--data",
      names,
      "--out",
      out,
      "--epochs",
      "1",
      "--batch",
      "4",
      "--names",
      "2",
    ]);
    const table = printed.split("\n").filter((line) =>
      /^ {2}(RNN|GRU|LSTM|Transformer) +[\d,]+ +\d\.\d{4} /.test(line)
    );
    assertEquals(table.length, 4);
    assertStringIncludes(await Deno.readTextFile(`${out}/losses.svg`), "Transformer");
  }));

Deno.test("a name's letters each ask for the next, the last for the end", () => {
  const letters = lettersOf(["bo", "abe"]); // . a b e o
  const { tokens, targets } = encodeNames(["bo", "abe"], letters, 4);
  assertEquals([...tokens.data], [0, 2, 4, 0, 0, 1, 2, 3]);
  assertEquals([...targets.data], [2, 4, 0, -1, 1, 2, 3, 0]);
});

Deno.test("of a mail, the sender, the subject and the visible text are read", () => {
  const plain =
    "From a@b Thu\nReceived: from x\n\tby y\nFrom: Al <al@b.com>\nSubject: Re: Win\n  $1,000 now!!!!!\n\nDear Friend,\ndon't wait.\n";
  assertEquals(wordsOf(plain), [
    ...["al", "al", "b", "com"],
    "<subject>",
    ...["re", "win", "$", "0,000", "now", "!!!"],
    "<body>",
    "dear",
    "friend",
    "don't",
    "wait",
  ]);
  const html = "Subject: x\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n" +
    '<p style=3D"a">Vi<b>ag</b>ra <!-- no -->for=\n ever</p>';
  assertEquals(wordsOf(html), ["<subject>", "x", "<body>", "<html>", "viagra", "for", "ever"]);
  const parts = 'Content-Type: multipart/mixed; boundary="B"\n\n--B\nContent-Type: text/plain\n' +
    `Content-Transfer-Encoding: base64\n\n${btoa("hidden words")}\n--B\nContent-Type: image/gif\n\nR0lGOD\n--B--\n`;
  assertEquals(wordsOf(parts), ["<subject>", "<body>", "hidden", "words"]);
  assertEquals(wordsOf("just words"), ["<subject>", "<body>", "just", "words"]);
});

Deno.test("about a fifth of the mails is for the test, whatever their order", () => {
  const mails = Array.from({ length: 1000 }, (_, i): Mail => ({ words: ["mail", `${i}`], label: 0 }));
  const tested = mails.filter(isForTest);
  assert(Math.abs(tested.length - 200) < 40, `${tested.length}`);
  assertEquals(mails.toReversed().filter(isForTest), tested.toReversed());
  assertEquals(commonWords(mails, 2), ["mail"]);
});
