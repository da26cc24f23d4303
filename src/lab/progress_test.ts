import assert from "node:assert/strict";
import { painter } from "../view/terminal.ts";
import { textProgress } from "./progress.ts";

/** Progress without colours into an array of strings. */
function recordedProgress(lines: string[], terminal = false) {
  const write = (text: string) => lines.push(text);
  return textProgress({ write, terminal, paint: painter(false), now: () => 0 });
}

Deno.test("step() writes one plain line at its end without a terminal", async () => {
  const lines: string[] = [];
  const value = await recordedProgress(lines).step("agents", (step) => {
    step.update("1/2");
    return Promise.resolve(2);
  }, (count) => `${count} ready`);
  assert.equal(value, 2);
  assert.deepEqual(lines, ["✓ agents     0.0 s  2 ready\n"]);
});

Deno.test("step() marks a failure, keeps the last detail and passes the error on", async () => {
  const lines: string[] = [];
  const work = recordedProgress(lines).step("pods", (step) => {
    step.update("3/4");
    return Promise.reject(new Error("no address"));
  });
  await assert.rejects(work, /no address/);
  assert.deepEqual(lines, ["✗ pods       0.0 s  3/4\n"]);
});

Deno.test("step() moves on a terminal, clears its line and stops moving", async () => {
  const lines: string[] = [];
  await recordedProgress(lines, true).step("net", () => Promise.resolve());
  assert.equal(lines[0], "\r\x1b[K⠋ net        ");
  assert.equal(lines.at(-1), "\r\x1b[K✓ net        0.0 s  \n");
});
