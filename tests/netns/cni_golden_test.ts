/**
 * What the plugin answers, byte for byte, for every version of the configuration and every verb, and what is there after
 * it: tests/netns/golden/cni/VERSION/VERB.json. To write the files anew and read the differences:
 *
 *   UPDATE_GOLDEN=1 deno test -A tests/netns/cni_golden_test.ts && git diff tests/netns/golden
 */
import assert from "node:assert/strict";
import { VERSIONS } from "../../cni/config.ts";
import { VERBS } from "../../cni/env.ts";
import * as needs from "../support/needs.ts";
import { type CallOptions, CniWorld, type PrevResult, type WiredPod } from "./cni/world.ts";

const ignore = !(needs.root() && needs.file("dist/artifacts/lbrp.bpf.o"));
const FOLDER = new URL("golden/cni", import.meta.url).pathname;
const UPDATE = Deno.env.get("UPDATE_GOLDEN") === "1";

/** A call of a file, in the order in which they are made. */
interface Case {
  about: string;
  options?: (world: CniWorld, pod: WiredPod) => CallOptions;
  /** Done before the call. */
  before?: (world: CniWorld, pod: WiredPod) => void;
}

const add = (world: CniWorld, pod: WiredPod) => void world.call("ADD", pod);
const valid = "cni.dev/valid-attachments";

const CASES: Record<typeof VERBS[number], Case[]> = {
  ADD: [
    { about: "a pod behind bridge" },
    { about: "the same again" },
    { about: "without prevResult", options: () => ({ config: { prevResult: undefined } }) },
    { about: "with an unknown key", options: () => ({ config: { bpfs: "/x" } }) },
    {
      about: "without a data plane",
      options: (world) => ({ config: { bpffs: `${world.dir}/none` } }),
    },
    { about: "without a namespace", options: () => ({ env: { CNI_NETNS: undefined } }) },
  ],
  CHECK: [
    { about: "what ADD left", before: add },
    {
      about: "an address is missing",
      before: (world) => void world.plane.maps.endpoints.delete({ addr: "10.1.0.2" }),
    },
    { about: "without prevResult", options: () => ({ config: { prevResult: undefined } }) },
  ],
  DEL: [
    { about: "what ADD left", before: add },
    { about: "again" },
    {
      about: "without namespace and prevResult",
      before: add,
      options: () => ({ env: { CNI_NETNS: "" }, config: { prevResult: undefined } }),
    },
    { about: "without a container ID", options: () => ({ env: { CNI_CONTAINERID: "" } }) },
  ],
  GC: [
    {
      about: "the attachment is valid",
      before: add,
      options: (_, { containerID, ifname }) => ({ config: { [valid]: [{ containerID, ifname }] } }),
    },
    { about: "none is valid", options: () => ({ config: { [valid]: [] } }) },
    { about: "without a list" },
  ],
  STATUS: [
    { about: "ready" },
    {
      about: "without a data plane",
      options: (world) => ({ config: { bpffs: `${world.dir}/none` } }),
    },
  ],
  VERSION: [
    {
      about: "asked by a runtime",
      options: (_, { prevResult: { cniVersion } }) => ({ stdin: JSON.stringify({ cniVersion }) }),
    },
    { about: "asked with nothing", options: () => ({ stdin: "" }) },
  ],
};

/** prevResult as the bridge plugin prints it in that version. */
function inVersion(result: PrevResult, cniVersion: string): PrevResult {
  const young = cniVersion === "1.1.0";
  return {
    ...result,
    cniVersion,
    interfaces: result.interfaces.map((one) => young ? { ...one, mtu: 1450 } : one),
    ips: result.ips.map((ip) => cniVersion < "1" ? { version: "4", ...ip } : ip),
    routes: [young ? { dst: "0.0.0.0/0", priority: 10, scope: 0 } : { dst: "0.0.0.0/0" }],
    dns: { nameservers: ["10.96.0.10"], search: ["cluster.local"] },
  };
}

function run(cniVersion: string, verb: typeof VERBS[number]) {
  using world = new CniWorld();
  const pod = world.pod("10.1.0.2", { containerID: "golden-1" });
  pod.prevResult = inVersion(pod.prevResult, cniVersion);
  const aboutPod = verb === "ADD" || verb === "CHECK" || verb === "DEL";
  let last = JSON.stringify(state(world));
  const cases = CASES[verb].map(({ about, options, before }) => {
    before?.(world, pod);
    if (before) last = JSON.stringify(state(world));
    const given = options?.(world, pod) ?? {};
    const config = { cniVersion, ...given.config };
    const { code, text } = world.call(verb, aboutPod ? pod : undefined, { ...given, config });
    const after = state(world);
    const same = JSON.stringify(after) === last;
    last = JSON.stringify(after);
    return { about, exit: code, stdout: text, after: same ? "as before" : after };
  });
  return `${JSON.stringify(cases, null, 2)}\n`
    .replaceAll(pod.netns.path, "/run/netns/POD")
    .replaceAll(world.bpffs, "/BPFFS")
    .replaceAll(world.dir, "/DIR");
}

/** All that is there. */
function state(world: CniWorld) {
  const { attachments, ...rest } = world.snapshot();
  const records = attachments.map((name) =>
    JSON.parse(Deno.readTextFileSync(`${world.stateDir}/attachments/${name}`))
  );
  return { ...rest, records };
}

for (const version of VERSIONS) {
  for (const verb of VERBS) {
    Deno.test({
      name: `runCni() ${verb} in ${version} answers as in the golden file`,
      ignore,
      fn() {
        const path = `${FOLDER}/${version}/${verb}.json`;
        const text = run(version, verb);
        if (UPDATE) {
          Deno.mkdirSync(`${FOLDER}/${version}`, { recursive: true });
          Deno.writeTextFileSync(path, text);
        }
        assert.deepEqual(JSON.parse(text), JSON.parse(Deno.readTextFileSync(path)));
        assert.equal(text, Deno.readTextFileSync(path));
      },
    });
  }
}

Deno.test({
  name: "the golden files are those of the versions and verbs that there are",
  ignore: UPDATE,
  fn() {
    const names = Array.from(
      Deno.readDirSync(FOLDER),
      (
        { name },
      ) => [name, Array.from(Deno.readDirSync(`${FOLDER}/${name}`), (at) => at.name).sort()],
    );
    const expected = VERSIONS.map((one) => [one, VERBS.map((verb) => `${verb}.json`).sort()]);
    assert.deepEqual(names.sort(), expected);
  },
});
