import { deepEqual, equal, rejects } from "node:assert/strict";
import {
  CniError,
  type ConflistCall,
  type ConflistConfig,
  type PluginCall,
  runConflist,
} from "./runtime.ts";

const conflist: ConflistConfig = {
  cniVersion: "1.1.0",
  name: "net",
  plugins: [
    { type: "first", mtu: 1400 },
    { type: "second", capabilities: { portMappings: true, bandwidth: true, mac: false } },
  ],
};

/** A runtime whose plugins answer from a table; collects what they were given. */
function record(answers: Record<string, { code?: number; stdout?: unknown; stderr?: string }>) {
  const calls: { type: string; env: Record<string, string>; config: Record<string, unknown> }[] =
    [];
  const folder = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
  for (const type of ["first", "second"]) Deno.writeTextFileSync(`${folder}/${type}`, "");
  const encode = (text: string) => new TextEncoder().encode(text);
  const exec = ({ path, env, stdin }: PluginCall) => {
    const type = path.slice(folder.length + 1);
    calls.push({ type, env, config: JSON.parse(new TextDecoder().decode(stdin)) });
    const { code = 0, stdout, stderr = "" } = answers[type] ?? {};
    const text = stdout === undefined
      ? ""
      : typeof stdout === "string"
      ? stdout
      : JSON.stringify(stdout);
    return Promise.resolve({ code, stdout: encode(text), stderr: encode(stderr) });
  };
  const run = async (call: Omit<ConflistCall, "conflist" | "pluginDirs">, list = conflist) => {
    try {
      return await runConflist({ exec, ...call, conflist: list, pluginDirs: [folder] });
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  };
  return { run, calls };
}

const attachment = { containerID: "c1", netns: "/run/netns/x", ifname: "eth0" };

Deno.test("runConflist() hands each plugin's result to the next and returns the last one", async () => {
  const one = { cniVersion: "1.1.0", ips: [{ address: "10.0.0.2/24" }] };
  const two = { ...one, dns: { domain: "x" } };
  const { run, calls } = record({ first: { stdout: one }, second: { stdout: two } });
  const capabilityArgs = { portMappings: [{ hostPort: 1 }], mac: "x", ips: ["y"] };
  const args = { K8S_POD_NAME: "web", IgnoreUnknown: "1" };
  deepEqual(await run({ verb: "ADD", ...attachment, capabilityArgs, args }), two);
  deepEqual(calls.map(({ type }) => type), ["first", "second"]);
  const common = { cniVersion: "1.1.0", name: "net" };
  deepEqual(calls[0]!.config, { ...common, type: "first", mtu: 1400 });
  deepEqual(calls[1]!.config, {
    ...common,
    type: "second",
    prevResult: one,
    runtimeConfig: { portMappings: [{ hostPort: 1 }] },
  });
  const { CNI_PATH, ...env } = calls[0]!.env;
  equal(typeof CNI_PATH, "string");
  deepEqual(env, {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c1",
    CNI_NETNS: "/run/netns/x",
    CNI_IFNAME: "eth0",
    CNI_ARGS: "K8S_POD_NAME=web;IgnoreUnknown=1",
  });
});

Deno.test("runConflist() DEL runs backwards, every plugin with ADD's result", async () => {
  const { run, calls } = record({});
  const prevResult = { cniVersion: "1.1.0" };
  equal(await run({ verb: "DEL", ...attachment, prevResult }), undefined);
  deepEqual(calls.map(({ type }) => type), ["second", "first"]);
  deepEqual(calls.map(({ config }) => config.prevResult), [prevResult, prevResult]);
});

Deno.test("runConflist() leaves prevResult out of DEL before 0.4.0", async () => {
  const { run, calls } = record({});
  const prevResult = { cniVersion: "0.3.1" };
  await run({ verb: "DEL", ...attachment, prevResult }, { ...conflist, cniVersion: "0.3.1" });
  deepEqual(calls.map(({ config }) => "prevResult" in config), [false, false]);
});

Deno.test("runConflist() GC asks every plugin, though one fails, and names the valid attachments", async () => {
  const { run, calls } = record({ first: { code: 1, stdout: { code: 100, msg: "no" } } });
  const validAttachments = [{ containerID: "c1", ifname: "eth0" }];
  await rejects(run({ verb: "GC", validAttachments }), CniError);
  deepEqual(calls.map(({ type }) => type), ["first", "second"]);
  deepEqual(calls[1]!.config["cni.dev/valid-attachments"], validAttachments);
  equal(calls[1]!.env.CNI_CONTAINERID, undefined);
});

Deno.test("runConflist() skips verbs that the list's version does not have, or that it disables", async () => {
  for (
    const [verb, list] of [
      ["CHECK", { ...conflist, cniVersion: "0.3.1" }],
      ["CHECK", { ...conflist, disableCheck: true }],
      ["GC", { ...conflist, cniVersion: "1.0.0" }],
      ["GC", { ...conflist, disableGC: true }],
      ["STATUS", { ...conflist, cniVersion: "1.0.0" }],
    ] as const
  ) {
    const { run, calls } = record({});
    equal(await run({ verb, ...attachment }, list), undefined);
    equal(calls.length, 0);
  }
});

Deno.test("runConflist() ADD stops at the first error and tells the plugin's own words", async () => {
  const told = { cniVersion: "1.1.0", code: 11, msg: "try again", details: "later" };
  const { run, calls } = record({ first: { code: 1, stdout: told } });
  await rejects(run({ verb: "ADD", ...attachment }), {
    name: "CniError",
    plugin: "first",
    code: 11,
    msg: "try again",
    details: "later",
    message: "CNI ADD: plugin first failed with code 11: try again: later",
  });
  equal(calls.length, 1);
});

Deno.test("runConflist() makes an error of whatever a plugin prints that is not JSON", async () => {
  const broken = record({ first: { code: 2, stdout: "boom", stderr: " bang\n" } });
  await rejects(broken.run({ verb: "ADD", ...attachment }), { code: 999, details: "boom bang" });
  const silent = record({ first: { stdout: "" } });
  await rejects(silent.run({ verb: "ADD", ...attachment }), { code: 999 });
});

Deno.test("runConflist() looks for plugins in the given folders only", async () => {
  for (const type of ["absent", "../first", ""]) {
    const { run } = record({});
    await rejects(
      run({ verb: "ADD", ...attachment }, { ...conflist, plugins: [{ type, mtu: 0 }] }),
      /plugin/,
    );
  }
});
