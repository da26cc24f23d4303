/**
 * Bad input of every kind, to the plugin as a process: the right code in one JSON object on standard output, logs elsewhere,
 * and nothing changed, neither of the pod that is there nor of the one it would be about.
 */
import assert from "node:assert/strict";
import * as needs from "../support/needs.ts";
import { runPlugin, textOf } from "./cni/process.ts";
import { CniWorld, type WiredPod } from "./cni/world.ts";

const ignore = !(needs.root() && needs.file("dist/artifacts/lbrp.bpf.o"));

interface Hostile {
  about: string;
  code: number;
  /** What the message must name. */
  names?: RegExp;
  verb?: string;
  /** Changes of a good environment; undefined unsets. */
  env?: Record<string, string | undefined>;
  /** Changes of a good configuration. */
  config?: Record<string, unknown>;
  /** Instead of a configuration. */
  stdin?: string | Uint8Array<ArrayBuffer>;
}

const big = (bytes: number) => JSON.stringify({ cniVersion: "1.0.0", args: "x".repeat(bytes) });
const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

const CASES: Hostile[] = [
  { about: "no verb", code: 4, names: /CNI_COMMAND/, env: { CNI_COMMAND: "" } },
  { about: "an unknown verb", code: 4, names: /CNI_COMMAND/, env: { CNI_COMMAND: "GET" } },
  { about: "a verb in small letters", code: 4, names: /CNI_COMMAND/, env: { CNI_COMMAND: "add" } },
  { about: "no container ID", code: 4, names: /CONTAINERID/, env: { CNI_CONTAINERID: undefined } },
  { about: "no interface", code: 4, names: /IFNAME/, env: { CNI_IFNAME: undefined } },
  { about: "no namespace", code: 4, names: /NETNS/, env: { CNI_NETNS: undefined } },
  { about: "a winding ID", code: 4, names: /CONTAINERID/, env: { CNI_CONTAINERID: "../../x" } },
  { about: "an absolute ID", code: 4, names: /CONTAINERID/, env: { CNI_CONTAINERID: "/etc/x" } },
  { about: "an ID of dots", code: 4, names: /CONTAINERID/, env: { CNI_CONTAINERID: ".." } },
  { about: "an ID with a newline", code: 4, names: /CONTAINERID/, env: { CNI_CONTAINERID: "a\n" } },
  {
    about: "an endless ID",
    code: 4,
    names: /CONTAINERID/,
    env: { CNI_CONTAINERID: "a".repeat(5000) },
  },
  {
    about: "an interface's name that winds",
    code: 4,
    names: /IFNAME/,
    env: { CNI_IFNAME: "../a" },
  },
  { about: "an interface's name of dots", code: 4, names: /IFNAME/, env: { CNI_IFNAME: ".." } },
  { about: "a name of 16 bytes", code: 4, names: /IFNAME/, env: { CNI_IFNAME: "a".repeat(16) } },
  { about: "a name with a space", code: 4, names: /IFNAME/, env: { CNI_IFNAME: "eth 0" } },
  { about: "a namespace that winds", code: 4, names: /NETNS/, env: { CNI_NETNS: "/run/../etc" } },
  { about: "a namespace that is none", code: 4, names: /NETNS/, env: { CNI_NETNS: "/etc/passwd" } },
  { about: "a namespace that is not there", code: 4, names: /NETNS/, env: { CNI_NETNS: "/none" } },
  { about: "a device for a namespace", code: 4, names: /NETNS/, env: { CNI_NETNS: "/dev/zero" } },
  { about: "arguments that are no pairs", code: 4, names: /ARGS/, env: { CNI_ARGS: "no;pairs" } },
  { about: "another interface", code: 102, env: { CNI_IFNAME: "lo" }, config: loopback() },
  { about: "nothing on standard input", code: 6, stdin: "" },
  { about: "no JSON", code: 6, stdin: "certainly not" },
  { about: "half of a JSON object", code: 6, stdin: '{"cniVersion":"1.0.0"' },
  { about: "JSON that is an array", code: 6, stdin: "[]" },
  { about: "JSON that is null", code: 6, stdin: "null" },
  { about: "bytes that are no text", code: 6, stdin: Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d) },
  { about: "zeros", code: 6, stdin: new Uint8Array(4096) },
  { about: "10 MB of JSON", code: 6, names: /bytes long/, stdin: big(10_000_000) },
  { about: "40 MB of JSON", code: 6, names: /bytes long/, stdin: big(40_000_000) },
  { about: "10 MB of brackets", code: 6, stdin: deep(5_000_000) },
  { about: "a version that is none", code: 6, names: /cniVersion/, config: { cniVersion: "one" } },
  { about: "a version that is a number", code: 6, names: /cniVersion/, config: { cniVersion: 1 } },
  { about: "an old version", code: 1, names: /0\.2\.0/, config: { cniVersion: "0.2.0" } },
  { about: "a version to come", code: 1, names: /2\.0\.0/, config: { cniVersion: "2.0.0" } },
  { about: "no version", code: 1, config: { cniVersion: undefined } },
  { about: "an unknown key", code: 2, names: /"bogus".*"x"/, config: { bogus: "x" } },
  { about: "an unknown key of DEL", code: 2, verb: "DEL", names: /bogus/, config: { bogus: 1 } },
  { about: "a known key in capitals", code: 2, names: /BPFFS/, config: { BPFFS: "/x" } },
  { about: "no name", code: 7, names: /^name/, config: { name: undefined } },
  { about: "a name that winds", code: 7, names: /^name/, config: { name: "../net" } },
  { about: "a bpffs that is a number", code: 7, names: /^bpffs/, config: { bpffs: 5 } },
  { about: "a bpffs that winds", code: 7, names: /^bpffs/, config: { bpffs: "/sys/../x" } },
  { about: "a bpffs with NUL", code: 7, names: /^bpffs/, config: { bpffs: "/a\0b" } },
  { about: "a relative state", code: 7, names: /^stateDir/, config: { stateDir: "state" } },
  { about: "a state that winds", code: 7, names: /^stateDir/, config: { stateDir: "/run/../x" } },
  { about: "a state in a file", code: 5, config: { stateDir: "/etc/passwd/x" } },
  { about: "an unknown level", code: 7, names: /^logLevel/, config: { logLevel: "shout" } },
  { about: "no prevResult", code: 7, names: /prevResult/, config: { prevResult: undefined } },
  { about: "a prevResult that is text", code: 7, names: /prevResult/, config: { prevResult: "x" } },
  { about: "an empty prevResult's interface", code: 7, config: result({ interfaces: [{}] }) },
  { about: "an address that is none", code: 7, config: result({ ips: [{ address: "x" }] }) },
  {
    about: "an interface out of bounds",
    code: 7,
    names: /ips\[0\]\.interface/,
    config: result({ ips: [{ address: "10.1.0.3/24", interface: 1e9 }] }),
  },
  { about: "a result of another format", code: 1, config: result({ cniVersion: "0.1.0" }) },
  { about: "CHECK without a prevResult", code: 7, verb: "CHECK", config: { prevResult: null } },
  { about: "CHECK of what was not added", code: 100, verb: "CHECK" },
  { about: "GC without a list", code: 7, verb: "GC", config: { cniVersion: "1.1.0" } },
  { about: "GC before there was one", code: 1, verb: "GC", names: /GC came with CNI 1\.1\.0/ },
  {
    about: "GC with a list that is none",
    code: 7,
    verb: "GC",
    config: { cniVersion: "1.1.0", "cni.dev/valid-attachments": { a: 1 } },
  },
  {
    about: "GC with half an attachment",
    code: 7,
    verb: "GC",
    config: { cniVersion: "1.1.0", "cni.dev/valid-attachments": [{ containerID: "a" }] },
  },
  { about: "VERSION with no JSON", code: 6, verb: "VERSION", stdin: "{{" },
];

/** A prevResult with something wrong in it. */
function result(wrong: Record<string, unknown>): Record<string, unknown> {
  const interfaces = [{ name: "eth0", sandbox: "/run/netns/x" }];
  return { prevResult: { cniVersion: "1.0.0", interfaces, ips: [], ...wrong } };
}

function loopback(): Record<string, unknown> {
  return result({ interfaces: [{ name: "lo", sandbox: "/run/netns/x" }] });
}

Deno.test({
  name: "runCni() answers bad input with the right code and changes nothing",
  ignore,
  async fn(t) {
    using world = new CniWorld();
    world.add(world.pod("10.1.0.2"));
    const pod = world.pod("10.1.0.3");
    const before = world.snapshot();
    for (const hostile of CASES) {
      await t.step(`${hostile.about}: ${hostile.code}`, async () => {
        await expect(world, pod, hostile);
        assert.deepEqual(world.snapshot(), before);
        assert.deepEqual(Array.from(Deno.readDirSync(world.dir), ({ name }) => name), ["state"]);
      });
    }
    await t.step("a variable that is not UTF-8: 4", async () => {
      const script = 'CNI_CONTAINERID=$(printf "a\\377") exec "$@"';
      await expect(world, pod, { about: "", code: 4, names: /CONTAINERID/ }, [
        ...["sh", "-c", script, "sh"],
      ]);
      assert.deepEqual(world.snapshot(), before);
    });
    await t.step("a verb that is not UTF-8: 4", async () => {
      const script = 'CNI_COMMAND=$(printf "a\\377") exec "$@"';
      await expect(world, pod, { about: "", code: 4, names: /CNI_COMMAND/ }, [
        ...["sh", "-c", script, "sh"],
      ]);
    });
    await t.step("a closed standard input: 5 or 6", async () => {
      await expect(world, pod, { about: "", code: 5 }, ["sh", "-c", 'exec "$@" <&-', "sh"], [6]);
    });
    await t.step("a folder for standard input: 5", async () => {
      await expect(world, pod, { about: "", code: 5 }, ["sh", "-c", 'exec "$@" </', "sh"]);
    });
    assert.deepEqual(world.snapshot(), before);
  },
});

async function expect(
  world: CniWorld,
  pod: WiredPod,
  hostile: Hostile,
  wrapper: string[] = [],
  also: number[] = [],
): Promise<void> {
  const env: Record<string, string | undefined> = {
    CNI_COMMAND: hostile.verb ?? "ADD",
    CNI_CONTAINERID: pod.containerID,
    CNI_NETNS: pod.netns.path,
    CNI_IFNAME: pod.ifname,
    ...hostile.env,
  };
  const set = Object.entries(env).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const]
  );
  const config = world.config({ prevResult: pod.prevResult, ...hostile.config });
  const stdin = hostile.stdin ?? JSON.stringify(config);
  const output = await runPlugin(world.node.path, Object.fromEntries(set), stdin, wrapper);
  const { code, msg, cniVersion } = JSON.parse(textOf(output.stdout));
  assert.equal(output.code, 1);
  assert.equal([hostile.code, ...also].includes(code), true, `${code}: ${msg}`);
  if (hostile.names) assert.match(msg, hostile.names);
  assert.equal(typeof cniVersion, "string");
  assert.equal(output.stdout.length < 2000, true, "the answer is too long");
  for (const line of textOf(output.stderr).trim().split("\n")) JSON.parse(line);
}
