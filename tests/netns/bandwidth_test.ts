/**
 * The reference plugin bandwidth before and after pcnk: ADD, CHECK and DEL, and its rates hold for what a pod sends and
 * receives, to a pod and to a Service.
 */
import assert from "node:assert/strict";
import { type Conflist, conflist, PLUGIN_FOLDERS } from "../../src/node/conflist.ts";
import { installSelf } from "../../src/lab/executable.ts";
import { isThere } from "../../src/lab/leftovers.ts";
import { type CniResult, runConflist } from "../../src/lab/runtime.ts";
import { PROTO, SCOPE } from "../../src/bpf/layout.ts";
import * as needs from "../support/needs.ts";
import { pcnk } from "../support/pcnk.ts";
import type { TestNetns } from "../support/sandbox.ts";
import { runIn } from "./cni/process.ts";
import { CniWorld } from "./cni/world.ts";

const folder = PLUGIN_FOLDERS.find((path) => isThere(`${path}/bandwidth`));
const ignore =
  !(needs.root() && needs.kernel(6, 6) && needs.file(`${folder ?? PLUGIN_FOLDERS[0]}/bandwidth`));

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

for (const order of ["before", "after"] as const) {
  Deno.test({
    name: `bandwidth ${order} pcnk limits what a pod sends and receives, by Services too`,
    ignore,
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
      const capabilities = { bandwidth: true };
      const bandwidth = { type: "bandwidth", capabilities };
      const chain = order === "before"
        ? [bridge!, bandwidth, own!]
        : [bridge!, { ...own!, capabilities }, bandwidth];
      const list: Conflist = { ...base, plugins: chain };
      const run = (
        verb: "ADD" | "CHECK" | "DEL",
        pod: TestNetns,
        prevResult?: CniResult,
        limited = true,
      ) =>
        runConflist({
          verb,
          conflist: list,
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
      for (
        const [from, to] of [[limited, freeIp], [limited, VIP], [free, limitedIp], [
          free,
          "10.96.0.11",
        ]] as const
      ) {
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
