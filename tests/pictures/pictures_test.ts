import assert from "node:assert/strict";
import { screenshot } from "./screenshot.ts";
import { screen } from "./terminal.ts";

const texts = (output: string, columns?: number) =>
  screen(output.replaceAll("\n", "\r\n"), columns).map((runs) =>
    runs.map(({ column, text }) => `${column}:${text}`)
  );

Deno.test("screen() parts runs at two blanks, and keeps their columns", () => {
  assert.deepEqual(texts("a b  c\n\n   d  \n\n"), [["0:a b", "5:c"], [], ["3:d"]]);
});

Deno.test("screen() knows colours, weights and their end", () => {
  const [[green, plain, both] = []] = screen("\x1b[32mok\x1b[0m  then\x1b[1;31m!\x1b[39m\x1b[22m");
  assert.deepEqual([green?.style, plain?.style], [{ color: 2 }, {}]);
  assert.deepEqual(both, { column: 8, text: "!", style: { bold: true, color: 1 } });
});

Deno.test("screen() shows what is left after a progress line was written over", () => {
  assert.deepEqual(texts("10 %\r\x1b[K100 %\n"), [["0:100 %"]]);
  assert.deepEqual(texts("old line\rnew"), [["0:new line"]]);
  assert.deepEqual(texts("one\ntwo\n\x1b[2A\x1b[Jdone\n"), [["0:done"]]);
});

Deno.test("screen() wraps as a terminal of that width does", () => {
  assert.deepEqual(texts("abcdef\nx", 4), [["0:abcd"], ["0:ef"], ["0:x"]]);
});

Deno.test("screenshot() draws every word, escaped, inside the picture", () => {
  const shot = { prompt: "node1#", command: "a <b>", output: '1 < 2 &\x1b[31m "red"\x1b[0m\r\n' };
  const svg = screenshot("title", [shot, shot], 80);
  for (const text of ["a &lt;b&gt;", "1 &lt; 2 &amp;", "&quot;red&quot;"]) {
    assert.equal(svg.split(`>${text}</text>`).length, 3, text);
  }
  const [, height] = /height="(\d+)"/.exec(svg)!;
  const lowest = Math.max(
    ...[...svg.matchAll(/<text x="[\d.]+" y="([\d.]+)"/g)].map(([, y]) => Number(y)),
  );
  assert.ok(lowest < Number(height) - 8);
});
