import assert from "node:assert/strict";
import { formatDuration, parseDuration } from "./kinds.ts";
import { nearest } from "../model/nearest.ts";

Deno.test("parseDuration() reads seconds and times with units", () => {
  const cases: [unknown, number | undefined][] = [
    [90, 90],
    ["90", 90],
    ["250ms", 0.25],
    ["1h30m", 5400],
    ["1.5m", 90],
    ["2d", 172800],
    ["", undefined],
    ["5 minutes", undefined],
    ["-5s", undefined],
    ["5s5", undefined],
    [-1, undefined],
    [NaN, undefined],
    [true, undefined],
  ];
  for (const [text, seconds] of cases) assert.equal(parseDuration(text), seconds, String(text));
});

Deno.test("formatDuration() uses the largest unit that fits", () => {
  assert.deepEqual([45, 90, 120, 7200, 86400].map(formatDuration), [
    "45s",
    "90s",
    "2m",
    "2h",
    "1d",
  ]);
});

Deno.test("nearest() finds what was probably meant", () => {
  assert.equal(nearest("nodname", ["nodeName", "uplink"]), "nodeName");
  assert.equal(nearest("frobnicate", ["nodeName", "uplink"]), undefined);
});
