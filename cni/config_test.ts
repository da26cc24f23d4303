import { deepEqual, equal, throws } from "node:assert/strict";
import { MAX_INPUT, parseInput, readConfig, readText, readVersion, VERSIONS } from "./config.ts";

const minimal = { cniVersion: "1.1.0", name: "net", type: "pcnk" };

/** A reader of text in pieces of at most `piece` bytes. */
function reader(content: string | Uint8Array, piece = 1 << 20) {
  let rest = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return (buffer: Uint8Array) => {
    const part = rest.subarray(0, Math.min(piece, buffer.length));
    buffer.set(part);
    rest = rest.subarray(part.length);
    return part.length === 0 ? null : part.length;
  };
}

Deno.test("readText() puts pieces together, also in the middle of a character", () => {
  equal(readText(reader("{“ü”}", 1)), "{“ü”}");
  equal(readText(reader("")), "");
});

Deno.test("readText() takes what is just long enough, and no more", () => {
  equal(readText(reader(" ".repeat(MAX_INPUT))).length, MAX_INPUT);
  throws(() => readText(reader(" ".repeat(MAX_INPUT + 1))), { code: 6, message: /bytes long/ });
});

Deno.test("readText() reads a long input to its end, so that its writer is not cut off", () => {
  const read = reader(new Uint8Array(10 << 20));
  throws(() => readText(read), { code: 6 });
  equal(read(new Uint8Array(1)), null);
});

Deno.test("readText() gives up on an input without an end", () => {
  throws(() => readText((buffer) => buffer.length), { code: 6 });
});

Deno.test("readText() tells errors of reading from those of the content", () => {
  const fail = () => {
    throw new Error("Is a directory (os error 21)");
  };
  throws(() => readText(fail), { code: 5, details: "Is a directory (os error 21)" });
  throws(() => readText(reader(Uint8Array.of(0x7b, 0xff, 0x7d))), { code: 6, message: /UTF-8/ });
});

Deno.test("parseInput() takes objects only", () => {
  deepEqual(parseInput('{"a":1}'), { a: 1 });
  for (const text of ["", " ", "{", "nonsense", "null", "[]", '"x"', "5", "{}{}", "{'a':1}"]) {
    throws(() => parseInput(text), { code: 6 }, text);
  }
});

Deno.test("readVersion() knows every supported version", () => {
  for (const cniVersion of VERSIONS) equal(readVersion({ cniVersion }), cniVersion);
});

Deno.test("readVersion() tells versions it does not speak from what is no version", () => {
  for (const cniVersion of ["0.1.0", "0.2.0", "1.2.0", "2.0.0", "1.1.0-rc1", "", null, undefined]) {
    throws(() => readVersion({ cniVersion }), { code: 1, details: /0\.3\.0.*1\.1\.0/ });
  }
  for (const cniVersion of ["1", "1.0", "x", "1.0.0.0", " 1.0.0", "v1.0.0", 1, true, {}, []]) {
    throws(() => readVersion({ cniVersion }), { code: 6 }, String(cniVersion));
  }
});

Deno.test("readConfig() fills in the documented defaults", () => {
  deepEqual(readConfig(minimal), {
    cniVersion: "1.1.0",
    name: "net",
    bpffs: "/sys/fs/bpf/pcnk",
    stateDir: "/run/pcnk",
    logLevel: "info",
  });
});

Deno.test("readConfig() takes its own keys", () => {
  const own = { bpffs: "/a/b/", stateDir: "/c", logLevel: "debug" };
  const { bpffs, stateDir, logLevel } = readConfig({ ...minimal, ...own });
  deepEqual([bpffs, stateDir, logLevel], ["/a/b", "/c", "debug"]);
});

Deno.test("readConfig() takes every key of the spec and of runtimes, also as null", () => {
  const foreign = {
    cniVersions: ["1.0.0", "1.1.0"],
    disableCheck: true,
    disableGC: false,
    args: { cni: { labels: [] } },
    capabilities: { portMappings: true, bandwidth: false },
    runtimeConfig: { portMappings: [] },
    ipMasq: false,
    ipam: {},
    dns: { nameservers: ["10.1.0.1"] },
    prevResult: { cniVersion: "1.1.0" },
    "cni.dev/anything": 5,
  };
  deepEqual(readConfig({ ...minimal, ...foreign }).prevResult, { cniVersion: "1.1.0" });
  for (const bandwidth of [{ ingressRate: 1 }, { IngressRate: 1, EgressRate: 0 }]) {
    const config = readConfig({ ...minimal, runtimeConfig: { bandwidth } });
    deepEqual(config.bandwidth, { ingress: true, egress: false });
  }
  const nulls = Object.fromEntries(Object.keys(foreign).map((key) => [key, null]));
  equal(readConfig({ ...minimal, ...nulls }).prevResult, undefined);
});

Deno.test("readConfig() names an unknown key with its value", () => {
  throws(() => readConfig({ ...minimal, statedir: "/x" }), {
    code: 2,
    message: 'unknown key "statedir" with value "/x"',
  });
  for (const key of ["__proto__", "constructor", "toString", "", "cni.dev"]) {
    const config = JSON.parse(
      `{"cniVersion":"1.1.0","name":"n","type":"p",${JSON.stringify(key)}:{}}`,
    );
    throws(() => readConfig(config), { code: 2 }, key);
  }
  const flood = { ...minimal, ["x".repeat(100_000)]: "y".repeat(100_000) };
  throws(() => readConfig(flood), (error: Error) => error.message.length < 300);
});

Deno.test("readConfig() names a key whose value is of the wrong type or out of bounds", () => {
  const bad: Record<string, unknown[]> = {
    name: [undefined, null, "", 5, {}, "../x", "a/b", "-a", "a b", "a\n"],
    type: [undefined, "", 5],
    bpffs: [5, "", "/", "relative", "/a/../b", "/a/./b", "/a\0b", `/${"x".repeat(300)}`, []],
    stateDir: [{}, "x", "/..", "/run/../etc"],
    logLevel: ["loud", "", "INFO", 3, ["info"]],
    prevResult: [5, "x", []],
    args: [5, [], "x"],
    capabilities: [[], { portMappings: "yes" }],
    runtimeConfig: ["x"],
    ipMasq: ["true", 1],
    ipam: ["host-local"],
    dns: [[]],
    cniVersions: ["1.0.0", [1]],
    disableCheck: [0],
    "cni.dev/valid-attachments": [5, {}, ["x"], [{}], [{ containerID: "a" }], [{ ifname: 5 }]],
  };
  for (const [key, values] of Object.entries(bad)) {
    for (const value of values) {
      throws(() => readConfig({ ...minimal, [key]: value }), (error: Error & { code: number }) => {
        equal(error.code, 7, `${key}: ${JSON.stringify(value)}: ${error.message}`);
        equal(error.message.startsWith(key), true, error.message);
        return true;
      });
    }
  }
});

Deno.test("readConfig() for DEL overlooks a prevResult of the wrong type", () => {
  equal(readConfig({ ...minimal, prevResult: 5 }, true).prevResult, undefined);
});

Deno.test("readConfig() reads the valid attachments under either name", () => {
  const list = [{ containerID: "c1", ifname: "eth0" }];
  const names = ["cni.dev/valid-attachments", "cni.dev/attachments"];
  for (const name of names) {
    deepEqual(readConfig({ ...minimal, [name]: list }).validAttachments, list);
  }
  equal(readConfig(minimal).validAttachments, undefined);
  for (const none of [null, []]) { // libcni writes null where a runtime has no pods
    deepEqual(readConfig({ ...minimal, [names[0]!]: none }).validAttachments, []);
    const both = { [names[0]!]: none, [names[1]!]: none };
    deepEqual(readConfig({ ...minimal, ...both }).validAttachments, []);
  }
  const more = [{ ...list[0], netns: "/x", other: 1 }];
  deepEqual(readConfig({ ...minimal, [names[0]!]: more }).validAttachments, list);
});
