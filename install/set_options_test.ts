import assert from "node:assert/strict";
import { UsageError } from "../src/config/usage_error.ts";
import { readSetOptions, settingsTree } from "./set_options.ts";

const rules = {
  own: {
    image: (value: string) => {
      if (value === "") throw new Error("must be an image");
    },
  },
  refused: { nodeName: "every node has its own" },
};

Deno.test("readSetOptions() tells settings from the command's own keys; the last word counts", () => {
  const read = readSetOptions(["overlay.port=8472", "image=a", "image=b:1"], rules);
  assert.deepEqual([...read.settings], [["overlay.port", "8472"]]);
  assert.deepEqual([...read.own], [["image", "b:1"]]);
});

const wrong: [string, RegExp][] = [
  ["overlay.prot=1", /^--set overlay\.prot: there is no such key; did you mean overlay\.port\?$/],
  ["imagee=x", /did you mean image\?/],
  ["port=1", /did you mean overlay\.port\?/],
  ["qqqqqqqqqq=1", /known are image, uplink, /],
  ["overlay.port=0", /^--set overlay\.port=0: overlay\.port must be a whole number/],
  ["image=", /image must be an image/],
  ["nodeName=a", /^--set nodeName: every node has its own$/],
  ["image", /must be KEY=VALUE/],
  ["=x", /must be KEY=VALUE/],
  ["constructor=x", /there is no such key/],
];
for (const [word, says] of wrong) {
  Deno.test(`readSetOptions() refuses ${word}`, () => {
    assert.throws(() => readSetOptions([word], rules), (error: Error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, says);
      return true;
    });
  });
}

Deno.test("settingsTree() nests keys, and gives numbers, lists and truth values their type", () => {
  const given = new Map([
    ["overlay.port", "8472"],
    ["overlay.checksumOffload", "false"],
    ["nonMasqueradeCIDRs", "10.0.0.0/8,192.168.0.0/16"],
    ["timeouts.udp", "5m"],
    ["snatPorts", "2000-3000"],
  ]);
  assert.deepEqual(settingsTree(given), {
    overlay: { port: 8472, checksumOffload: false },
    nonMasqueradeCIDRs: ["10.0.0.0/8", "192.168.0.0/16"],
    timeouts: { udp: "5m" },
    snatPorts: "2000-3000",
  });
});
