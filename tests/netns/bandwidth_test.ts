/**
 * The reference plugin bandwidth before and after pcnk: ADD, CHECK and DEL, and its rates hold for what a pod sends and
 * receives, to a pod and to a Service.
 */
import assert from "node:assert/strict";
import { type Conflist, conflist, PLUGIN_FOLDERS } from "../../src/node/conflist.ts";
import { readAttachments } from "../../src/node/attachments.ts";
import { rateFaults } from "../../src/upkeep/host_ports.ts";
import { installSelf } from "../../src/lab/executable.ts";
import { isThere } from "../../src/lab/leftovers.ts";
import { type CniResult, runConflist } from "../../src/lab/runtime.ts";
import { PROTO, SCOPE } from "../../src/bpf/layout.ts";
import { chainFaults } from "../../src/upkeep/cni.ts";
import { type NodeState, readOnce } from "../../src/upkeep/fault.ts";
import * as needs from "../support/needs.ts";
import { pcnk } from "../support/pcnk.ts";
import type { TestNetns } from "../support/sandbox.ts";
import { runIn } from "./cni/process.ts";
import { CniWorld } from "./cni/world.ts";

const folder = PLUGIN_FOLDERS.find((path) => isThere(`${path}/bandwidth`));
const ignore = !(needs.root() && needs.file(`${folder ?? PLUGIN_FOLDERS[0]}/bandwidth`));

/** Bits a second; a transfer of SIZE bytes takes a second then, and milliseconds without. */
const RATE = 16_000_000;
const SIZE = 2_000_000;
const VIP = "10.96.0.10";

/** Takes SIZE bytes of each client; \`send\` sends them, and prints the seconds until all are acknowledged. */
const SERVE = `
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 80)); s.listen(); print("ready", flush=True)
while True:
    c, _ = s.accept(); n = 0
    while n < ${SIZE}: n += len(c.recv(65536)) or ${SIZE}
    c.sendall(b"k"); c.close()
`;
const SEND = `
import socket, sys, time
s = socket.create_connection((sys.argv[1], 80), 60); t = time.monotonic()
s.sendall(b"x" * ${SIZE}); assert s.recv(1) == b"k"; print(time.monotonic() - t)
`;

async function inPod(pod: TestNetns, script: string, ...args: string[]): Promise<number> {
  const { code, stdout, stderr } = await runIn(
    pod.path,
    ["python3", "-c", script, ...args],
    {},
    "",
  );
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return Number(new TextDecoder().decode(stdout));
}

/** A server in a pod, until it is killed. */
async function serve(pod: TestNetns) {
  const argv = ["--net=" + pod.path, "python3", "-c", SERVE];
  const child = new Deno.Command("nsenter", { args: argv, stdout: "piped" }).spawn();
  await child.stdout.getReader().read();
  return { [Symbol.asyncDispose]: async () => (child.kill("SIGKILL"), void await child.status) };
}

const limits = { ingressRate: RATE, ingressBurst: 800_000, egressRate: RATE, egressBurst: 800_000 };
const capabilities = { bandwidth: true };

/** The entries behind bridge's. */
const chains = {
  "before pcnk": (own: Entry) => [{ type: "bandwidth", capabilities }, own],
  "after pcnk, which declares it": (own: Entry) => [
    { ...own, capabilities },
    { type: "bandwidth", capabilities },
  ],
  "after pcnk, which does not declare it": (own: Entry) => [
    own,
    { type: "bandwidth", capabilities },
  ],
  "after pcnk with rates of its own": (own: Entry) => [own, { type: "bandwidth", ...limits }],
};
type Entry = Conflist["plugins"][number];

for (const [order, chain] of Object.entries(chains)) {
  const after = order !== "before pcnk";
  Deno.test({
    name: `bandwidth ${order} limits what a pod sends and receives, by Services too`,
    ignore: ignore || after && !needs.kernel(6, 6),
    sanitizeResources: false,
    async fn() {
      using world = new CniWorld({ attach: "clsact" });
      const { bpffs, stateDir, dir, node } = world;
      installSelf(`${dir}/bin`, pcnk);
      const base = conflist({
        podCIDR: "10.1.0.0/24",
        bpffs,
        stateDir,
        ipamDataDir: `${dir}/ipam`,
      });
      const [bridge, own] = base.plugins;
      const list: Conflist = { ...base, plugins: [bridge!, ...chain(own!)] };
      // What the agent does.
      Deno.mkdirSync(`${dir}/net.d`);
      Deno.writeTextFileSync(`${dir}/net.d/10-own.conflist`, JSON.stringify(list));
      const objects = { cniConfDir: `${dir}/net.d` };
      for (const { mend } of chainFaults({ objects, stateDir } as NodeState)) mend!();
      const run = (
        verb: "ADD" | "CHECK" | "DEL",
        pod: TestNetns,
        prevResult?: CniResult,
        limited = true,
      ) =>
        runConflist({
          verb,
          conflist: limited ? list : { ...base, plugins: [bridge!, own!] },
          pluginDirs: [`${dir}/bin`, folder!],
          containerID: pod.name,
          netns: pod.path,
          ifname: "eth0",
          prevResult,
          capabilityArgs: limited ? { bandwidth: limits } : {},
          exec: ({ path, env, stdin }) => runIn(node.path, [path], env, stdin),
        }) as Promise<CniResult>;
      const [free, limited] = [world.sandbox.netns(), world.sandbox.netns()];
      const results = [await run("ADD", free, undefined, false), await run("ADD", limited)];
      await run("CHECK", limited, results[1]);
      const state = {
        dataPlane: world.plane,
        nl: node.nl,
        links: readOnce(node.nl),
        records: readAttachments(stateDir),
      };
      // Which the capability or the list may have told ADD.
      for (const { mend } of rateFaults(state as unknown as NodeState)) mend!();
      const [freeIp, limitedIp] = results.map(({ ips }) => ips![0]!.address.split("/")[0]!);
      const service = (addr: string, first: number, backend: string) => {
        world.plane.maps.backends.set(first, { addr: backend, port: 80, flags: 0, weight_end: 0 });
        const rest = { total_weight: 0, affinity_seconds: 0, flags: 0, table: 0 };
        const key = { addr, port: 80, proto: PROTO.TCP, scope: SCOPE.CLUSTER };
        world.plane.maps.services.set(key, { id: first + 1, first, count: 1, ...rest });
      };
      service(VIP, 0, freeIp!);
      service("10.96.0.11", 1, limitedIp!);
      await using _one = await serve(free);
      await using _two = await serve(limited);
      const modes = world.snapshot().programs.filter((one) => one.endsWith("lbrp_from_pod"));
      assert.equal(modes.some((one) => one.includes(" tcx ")), after, modes.join("\n"));
      const transfers = [
        [limited, freeIp],
        [limited, VIP],
        [free, limitedIp],
        [free, "10.96.0.11"],
      ] as const;
      for (const [from, to] of transfers) {
        const seconds = await inPod(from, SEND, to!);
        assert.ok(
          seconds > 0.75,
          `${from === free ? "into" : "out of"} the pod, to ${to}: ${seconds} s`,
        );
      }
      assert.ok(await inPod(limited, SEND, "10.96.0.11") >= 0); // itself, through its Service
      await run("DEL", limited, results[1]);
      await run("DEL", free, results[0], false);
      assert.deepEqual(world.snapshot().endpoints, []);
    },
  });
}
