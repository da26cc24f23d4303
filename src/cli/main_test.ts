import { deepEqual, equal, match } from "node:assert/strict";
import { runCli } from "./main.ts";

/** What `pcnk ARGS` prints, and its exit code. */
async function pcnk(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = "", err = "";
  const code = await runCli(args, {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
  });
  return { code, out, err };
}

Deno.test("pcnk without arguments shows its commands, and so do help and --help", async () => {
  const plain = await pcnk();
  equal(plain.code, 0);
  match(plain.err, /^Usage: pcnk COMMAND \[OPTIONS\]/);
  for (const args of [["help"], ["--help"]]) {
    const { code, out } = await pcnk(...args);
    deepEqual({ code, out }, { code: 0, out: plain.err });
  }
});

Deno.test("pcnk help goes down to the command that is named", async () => {
  const { code, out } = await pcnk("help", "lab", "up");
  equal(code, 0);
  match(out, /^Usage: pcnk lab up \[options\]/);
  const lab = await pcnk("help", "lab");
  match(lab.out, /^ {2}up \[options\] +Create a lab: /m);
});

Deno.test("a wrong call is one line that says what would be right, a hint at its level, and exit code 2", async () => {
  const cases: [string[], string][] = [
    [["bogus"], "pcnk: unknown command 'bogus'\n(pcnk --help lists the commands)\n"],
    [["bogus", "--help"], "pcnk: unknown command 'bogus'\n(pcnk --help lists the commands)\n"],
    [["help", "bogus"], "pcnk: unknown command 'bogus'\n(pcnk --help lists the commands)\n"],
    [["lab", "bogus"], "pcnk: unknown command 'bogus'\n(pcnk lab --help lists the commands)\n"],
    [
      ["lab", "up", "--bogus"],
      "pcnk: unknown option '--bogus'\n(pcnk lab up --help lists the options)\n",
    ],
    [
      ["lab", "up", "--nodes", "99"],
      "pcnk: option '--nodes <N>' argument '99' is invalid. It must be a whole number from 1 to 16.\n" +
      "(pcnk lab up --help lists the options)\n",
    ],
    [
      ["lab", "down", "--name", "a/b"],
      "pcnk: option '--name <NAME>' argument 'a/b' is invalid. It must be 2 to 15 of a-z and 0-9, a letter first.\n" +
      "(pcnk lab down --help lists the options)\n",
    ],
    [
      ["describe"],
      "pcnk: missing required argument 'what': service, svc, pod, po\n(pcnk describe --help lists the options)\n",
    ],
    [
      ["lab", "exec"],
      "pcnk: missing required argument 'where': Pod, node or outside, e.g. pod1-1 or node1\n" +
      "(pcnk lab exec --help lists the options)\n",
    ],
    [
      ["agent", "--mtu", "abc"],
      "pcnk: option '--mtu <BYTES>' argument 'abc' is invalid. It must be a whole number from 576 to 65535.\n" +
      "(pcnk agent --help lists the options)\n",
    ],
  ];
  for (const [args, err] of cases) {
    deepEqual(await pcnk(...args), { code: 2, out: "", err }, args.join(" "));
  }
});

Deno.test("what does not work, though called rightly, is one line and exit code 1", async () => {
  const { code, err } = await pcnk("agent", "--config", "/nonexistent/pcnk.yaml");
  equal(code, 1);
  equal(err, "pcnk: configuration file /nonexistent/pcnk.yaml: is not there\n");
});
