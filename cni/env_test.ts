import { deepEqual, equal, throws } from "node:assert/strict";
import { containerIdFault, interfaceNameFault } from "../src/node/attachments.ts";
import { readContainer, readVerb } from "./env.ts";

const good = { CNI_CONTAINERID: "c1", CNI_NETNS: "/run/netns/x", CNI_IFNAME: "eth0" };

function container(
  change: Record<string, string | undefined>,
  verb: "ADD" | "CHECK" | "DEL" = "ADD",
) {
  const env: Record<string, string | undefined> = { ...good, ...change };
  return readContainer((name) => env[name], verb);
}

Deno.test("readVerb() knows the six verbs and no other spelling", () => {
  for (const verb of ["ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"]) {
    equal(readVerb(() => verb), verb);
  }
  for (const verb of [undefined, "", "add", "GET", "ADD ", "toString", "../ADD"]) {
    throws(() => readVerb(() => verb), { code: 4, message: /^CNI_COMMAND / });
  }
});

Deno.test("readContainer() takes what the spec allows", () => {
  deepEqual(container({}), {
    containerID: "c1",
    netns: "/run/netns/x",
    ifname: "eth0",
    pod: undefined,
  });
  const args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;EMPTY=";
  equal(container({ CNI_ARGS: args }).pod, "default/web-0");
  equal(container({ CNI_NETNS: "/proc/123/ns/net" }).netns, "/proc/123/ns/net");
});

Deno.test("readContainer() lets DEL go without a namespace, and only DEL", () => {
  equal(container({ CNI_NETNS: "" }, "DEL").netns, undefined);
  equal(container({ CNI_NETNS: undefined }, "DEL").netns, undefined);
  for (const verb of ["ADD", "CHECK"] as const) {
    throws(() => container({ CNI_NETNS: "" }, verb), { code: 4, message: "CNI_NETNS is missing" });
  }
});

Deno.test("readContainer() names every variable that is missing or bad", () => {
  const change = { CNI_CONTAINERID: undefined, CNI_IFNAME: "../eth0", CNI_NETNS: "x" };
  throws(() => container(change), (error: { code: number; message: string }) => {
    equal(error.code, 4);
    for (const name of Object.keys(change)) equal(error.message.includes(name), true, name);
    return true;
  });
});

Deno.test("readContainer() refuses paths that are relative, wind or are endless", () => {
  for (const netns of ["netns/x", "../x", "/run/../etc/passwd", "/..", `/${"x".repeat(5000)}`]) {
    throws(() => container({ CNI_NETNS: netns }), { code: 4, message: /^CNI_NETNS is / });
    throws(() => container({ CNI_NETNS: netns }, "DEL"), { code: 4 });
  }
});

Deno.test("readContainer() refuses CNI_ARGS that are no pairs", () => {
  for (const args of ["x", "=y", "A=1;;B=2", "A=1;", ";", "x".repeat(70_000)]) {
    throws(() => container({ CNI_ARGS: args }), { code: 4, message: /^CNI_ARGS is / });
  }
});

Deno.test("containerIdFault() holds to the spec's grammar and to what fits a file name", () => {
  const id = "0123456789abcdef".repeat(4);
  for (const good of [id, "a", "A_b.c-d", "a..b", "x".repeat(200)]) {
    equal(containerIdFault(good), undefined, good);
  }
  for (
    const bad of [
      "",
      ".",
      "..",
      "-a",
      "_a",
      "../a",
      "a/b",
      "a b",
      "a@b",
      "a\n",
      "ä",
      "x".repeat(201),
    ]
  ) {
    notFine(containerIdFault(bad), bad);
  }
});

Deno.test("interfaceNameFault() holds to the kernel's rules", () => {
  for (const good of ["eth0", "net1", "a", "...", "x".repeat(15), "ens3f0@x", "ü", "$(reboot)"]) {
    equal(interfaceNameFault(good), undefined, good);
  }
  for (
    const bad of [
      ...["", ".", "..", "x".repeat(16), "ü".repeat(8), "a/b", "a:b", "a b", "a\tb", "a\n"],
      ...["a\u00a0b", "a\x00b", "a\x1bb", "\u2003", "../eth0"],
    ]
  ) {
    notFine(interfaceNameFault(bad), bad);
  }
});

function notFine(fault: string | undefined, given: string): void {
  equal(typeof fault, "string", JSON.stringify(given));
}
