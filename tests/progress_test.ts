import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createScreen, duration, type Output, percent, thousands } from "../train/progress.ts";

/** Output that is kept. */
function recorder(live: boolean, columns = 80): Output & { text: string } {
  return {
    text: "",
    live,
    columns: () => columns,
    write(text) {
      this.text += text;
    },
  };
}

Deno.test("a terminal gets one line that is rewritten, fitted to its width", () => {
  const output = recorder(true);
  const progress = createScreen(output).progress({ total: 10 });
  progress.update(5, { loss: 2.5 });
  progress.update(6, { loss: 2.4 }); // too soon
  assert(output.text.startsWith("\r\x1b[2K") && !output.text.includes("\n"));
  assertStringIncludes(output.text, "step  5/10  loss 2.5000");
  assertStringIncludes(output.text, "━".repeat(10) + "\x1b[2m" + "─".repeat(10));
  assert(!output.text.includes("2.4000"));

  const narrow = recorder(true, 20);
  createScreen(narrow).progress({ total: 10 }).update(5, { loss: 2.5 });
  assertEquals(narrow.text, "\r\x1b[2K  step  5/10  loss ");
});

Deno.test("elsewhere there are plain rows alone", () => {
  const output = recorder(false);
  const screen = createScreen(output);
  const progress = screen.progress({ total: 4, unit: "epoch", start: 1 });
  progress.update(2, { loss: 1 });
  screen.print(screen.bold("bold") + screen.dim("dim") + screen.red("red"));
  progress.row(1, { loss: 0.5, accuracy: percent(0.9921), left: undefined });
  progress.row(4, { loss: 0.25 });
  const [bold, first, last, end] = output.text.split("\n");
  assertEquals([bold, first, end], ["bolddimred", "  epoch 1/4  loss 0.5000  accuracy 99.21 %", ""]);
  assertMatch(last, /^ {2}epoch 4\/4 {2}loss 0\.2500 {2}[\d.]+ epochs\/s$/);
});

Deno.test("a row tells what is left, unless it was interrupted", () => {
  const output = recorder(false), interrupt = new AbortController();
  const progress = createScreen(output).progress({ total: 1e9, interrupt: interrupt.signal });
  progress.row(1);
  interrupt.abort();
  progress.row(2);
  const [before, after] = output.text.split("\n");
  assertStringIncludes(before, " left");
  assert(!after.includes(" left"));
});

Deno.test("colors can be declined", () => {
  assertEquals(createScreen({ ...recorder(true), colors: false }).bold("x"), "x");
});

Deno.test("numbers are written for people", () => {
  assertEquals([duration(5), duration(185), duration(3725)], ["5s", "3m 5s", "1h 2m"]);
  assertEquals([thousands(1190317), percent(0.5, 0)], ["1,190,317", "50 %"]);
});
