/** Two CPUs and one session: the programs run in two threads at the same moment. */
import assert from "node:assert/strict";
import type { Session, SessionKey } from "../../src/bpf/layout.ts";
import * as needs from "../support/needs.ts";
import { NODE, node, OUTSIDE } from "./support/node.ts";
import { type Bytes, PROTO, udp } from "./support/packet.ts";
import type { Race } from "./support/racer.ts";
import { CLIENT, LOCAL, pods } from "./support/scene.ts";
import { UPLINK, World } from "./support/world.ts";

const available = needs.root() && navigator.hardwareConcurrency > 1;
const MASQUERADE = 1;
const FLOWS = 500;
const PORT = 20000;

/** Runs a program over two lists of packets, the nth of one with the nth of the other. */
async function race(world: World, lists: [Bytes[], Bytes[]]): Promise<void> {
  const gate = new SharedArrayBuffer(8);
  const url = new URL("./support/racer.ts", import.meta.url);
  const workers = lists.map(() => new Worker(url, { type: "module" }));
  try {
    await Promise.all(workers.map((worker, lane) => {
      const { promise, resolve, reject } = Promise.withResolvers<number[]>();
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
      const fd = world.fd("k8sd_to_uplink");
      const run: Race = { fd, ifindex: UPLINK, packets: lists[lane]!, gate, lane };
      worker.postMessage(run);
      return promise;
    }));
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

/** Both entries of flows of `src` that were masqueraded with the one port, and are over. */
function over(world: World, src: string, ports: readonly number[]): void {
  const first = { src, dst: `${OUTSIDE}:1`, proto: PROTO.UDP, zone: MASQUERADE };
  world.run(udp(first), "k8sd_to_uplink");
  const forward = world.session(first)!;
  const reply = world.session({ src: first.dst, dst: `${NODE}:${PORT}`, proto: PROTO.UDP })!;
  const last_seen = BigInt.asUintN(64, forward.last_seen - 3600n * 1_000_000_000n);
  world.maps.sessions.setBatch(ports.flatMap((port): [SessionKey, Session][] => {
    const dst = `${OUTSIDE}:${port}`;
    return [
      [world.key({ ...first, dst }), { ...forward, dport: port, last_seen }],
      [
        world.key({ src: dst, dst: `${NODE}:${PORT}`, proto: PROTO.UDP }),
        { ...reply, sport: port, last_seen },
      ],
    ];
  }));
}

for (const former of ["10.1.0.9:1", `${CLIENT}:7`]) {
  Deno.test({
    name: `reply_key_claim() gives the port of ${former} to one of two flows, on two CPUs`,
    ignore: !available,
    async fn() {
      const world = new World();
      try {
        world.clear("race");
        pods(world);
        node(world);
        world.configure({ snat_first: PORT, snat_last: PORT });
        const ports = Array.from({ length: FLOWS }, (_, i) => 1000 + i);
        over(world, former, ports);
        const packets = (src: string) =>
          ports.map((port) => udp({ src, dst: `${OUTSIDE}:${port}` }));
        await race(world, [packets(`${CLIENT}:7`), packets(`${LOCAL}:7`)]);
        for (const port of ports) onlyOne(world, port);
        const zones = new Set(world.sessions().map(([{ zone }]) => zone));
        assert.deepEqual([...zones].sort(), [0, MASQUERADE], "a claim was left behind");
      } finally {
        world.close();
      }
    },
  });
}

/** One of the two has the port, and its replies. */
function onlyOne(world: World, port: number): void {
  const dst = `${OUTSIDE}:${port}`;
  const proto = PROTO.UDP;
  const long = 1_000_000_000n;
  const reply = world.session({ src: dst, dst: `${NODE}:${PORT}`, proto })!;
  const owners = [CLIENT, LOCAL].filter((src) => {
    const session = world.session({ src: `${src}:7`, dst, proto, zone: MASQUERADE });
    if (session === undefined) return false;
    // Not the former one. The clock starts with the machine: an hour ago may be before that.
    return BigInt.asIntN(64, reply.last_seen - session.last_seen) < long;
  });
  assert.equal(owners.length, 1, `flows to port ${port}: ${owners.join(" and ")}`);
  assert.equal(reply.dst, owners[0]);
}
