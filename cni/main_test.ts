import { deepEqual, equal, match } from "node:assert/strict";
import { VERSIONS } from "./config.ts";
import { runCni } from "./main.ts";
import "../tests/support/libraries.ts";

/** Where no data plane is: a call tells it what it took. */
const bpffs = "/nonexistent/pcnk";

const supportedVersions = [...VERSIONS];

/** Calls with an environment and standard input that end before anything of the machine is touched. */
function call(env: Record<string, string>, stdin: unknown, print?: (text: string) => void) {
  const text = typeof stdin === "string" ? stdin : JSON.stringify(stdin);
  let rest = new TextEncoder().encode(text);
  let out = "";
  const log: string[] = [];
  const code = runCni({
    env: (name) => env[name],
    read: (buffer) => {
      const part = rest.subarray(0, buffer.length);
      buffer.set(part);
      rest = rest.subarray(part.length);
      return part.length || null;
    },
    print: print ?? ((text) => void (out += text)),
    log: (line) => void log.push(line),
  });
  if (out !== "") equal(out.endsWith("\n"), true);
  return { code, out: out === "" ? undefined : JSON.parse(out), log };
}

const add = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c", CNI_NETNS: "/x", CNI_IFNAME: "eth0" };

Deno.test("runCni() VERSION answers in the version of the question", () => {
  for (const cniVersion of ["0.1.0", "0.3.1", "1.0.0", "1.1.0", "9.9.9"]) {
    const { code, out, log } = call({ CNI_COMMAND: "VERSION" }, { cniVersion });
    deepEqual({ code, out, log }, { code: 0, out: { cniVersion, supportedVersions }, log: [] });
  }
});

Deno.test("runCni() VERSION needs no question", () => {
  for (const stdin of ["", " \n", "{}", { cniVersion: 5 }, { cniVersion: "x".repeat(99) }]) {
    deepEqual(call({ CNI_COMMAND: "VERSION" }, stdin).out, {
      cniVersion: "1.1.0",
      supportedVersions,
    });
  }
});

Deno.test("runCni() VERSION refuses what is no JSON", () => {
  equal(call({ CNI_COMMAND: "VERSION" }, "{").out.code, 6);
});

Deno.test("runCni() words errors in the configuration's version, supported or not", () => {
  const versions = { "0.3.0": "0.3.0", "1.0.0": "1.0.0", "0.2.0": "0.2.0", "7.0.0": "7.0.0" };
  for (const [stated, told] of Object.entries(versions)) {
    const config = { cniVersion: stated, name: "n", type: "pcnk", bogus: 1 };
    equal(call(add, config).out.cniVersion, told);
  }
  equal(call(add, "{").out.cniVersion, "1.1.0");
  equal(call({ CNI_COMMAND: "NO" }, { cniVersion: "0.4.0" }).out.cniVersion, "0.4.0");
});

Deno.test("runCni() tells an error of the environment before one of the configuration", () => {
  equal(call({ CNI_COMMAND: "ADD" }, "nonsense").out.code, 4);
  equal(call(add, "nonsense").out.code, 6);
});

Deno.test("runCni() has each verb in the versions that have it", () => {
  for (const [verb, since] of [["CHECK", "0.4.0"], ["GC", "1.1.0"], ["STATUS", "1.1.0"]] as const) {
    for (const cniVersion of VERSIONS.slice(0, VERSIONS.indexOf(since))) {
      const config = { cniVersion, name: "n", type: "pcnk", bpffs };
      const { code, out } = call({ ...add, CNI_COMMAND: verb }, config);
      deepEqual([code, out.code], [1, 1]);
      match(out.msg, new RegExp(`^${verb} came with CNI ${since}; .*${cniVersion}$`));
    }
  }
});

Deno.test("runCni() needs a prevResult for ADD and CHECK, a list for GC", () => {
  const config = { cniVersion: "1.1.0", name: "n", type: "pcnk", bpffs };
  for (const verb of ["ADD", "CHECK"]) {
    const { out } = call({ ...add, CNI_COMMAND: verb }, config);
    deepEqual([out.code, out.msg], [7, "prevResult is missing"]);
  }
  const { out } = call({ CNI_COMMAND: "GC" }, config);
  deepEqual([out.code, out.msg], [7, "cni.dev/valid-attachments is missing"]);
});

Deno.test("runCni() logs an error once, to standard error, with its call", () => {
  const { log } = call(add, { cniVersion: "1.1.0", name: "n", type: "pcnk", bpffs });
  equal(log.length, 1);
  const { level, verb, network, containerID, ifname, code } = JSON.parse(log[0]!);
  deepEqual([level, verb, network, containerID, ifname, code], [
    "error",
    "ADD",
    "n",
    "c",
    "eth0",
    7,
  ]);
});

Deno.test("runCni() exits with an error when standard output is closed", () => {
  const broken = () => {
    throw new Deno.errors.BrokenPipe("Broken pipe (os error 32)");
  };
  equal(call({ CNI_COMMAND: "VERSION" }, "", broken).code, 1);
});
