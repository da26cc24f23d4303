/** The agent dies and comes back while traffic flows through a service: the data plane does not notice. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { LabHandle } from "../../src/lab/lab.ts";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { endpointSliceManifests, NODE_PORT, serviceManifests } from "../../src/lab/manifests.ts";
import { settle } from "../../src/lab/services.ts";
import { Listener } from "../support/pcnk.ts";
import { LAB_TEST, withLab } from "./support/lab.ts";
import type { TrafficReport } from "./support/traffic.ts";

/** Traffic from a pod to a service; `stop` ends it and tells what came of it. */
async function startTraffic(lab: LabHandle, pod: string, address: string) {
  const script = fileURLToPath(new URL("support/traffic.ts", import.meta.url));
  const argv = [Deno.execPath(), "run", "-A", "--no-check", script, address, "80"];
  const child = lab.command(pod, argv, { stdin: "piped", stdout: "piped" }).spawn();
  const said = new Listener(child.stdout);
  await said.line(/^started$/);
  return async (): Promise<TrafficReport> => {
    await child.stdin.close();
    const lines = (await said.all()).trim().split("\n");
    await child.status;
    return JSON.parse(lines.at(-1)!);
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

for (const attach of ["tcx", "clsact"] as const) {
  Deno.test(
    `kill -9 of the agent loses no packet of a service's traffic (${attach})`,
    LAB_TEST,
    () =>
      withLab({ name: "tkill", nodes: 1, pods: 2, attach }, async (lab) => {
        const [service] = lab.services().filter(({ name }) => name === "echo-node1");
        const stop = await startTraffic(lab, "pod1-1", service!.address);
        // The traffic itself is the clock here: some of it before, between and after.
        await pause(200);
        assert.equal(await lab.stopAgent("node1", true), "killed");
        await pause(200);

        // What happens while it is away, it finds when it is back.
        const late = { name: "late", address: "10.96.0.99", backends: [lab.pod("pod1-2")] };
        lab.writeManifest("late", [...serviceManifests([late]), ...endpointSliceManifests([late])]);
        await lab.startAgent("node1");
        await settle(lab.store, [...lab.services(), late]);
        await pause(200);

        const { tcp, udp } = await stop();
        assert.equal(tcp.error, undefined);
        assert.equal(tcp.answered, tcp.sent);
        assert.ok(tcp.sent > 500, `only ${tcp.sent} round trips`);
        assert.equal(udp.answered, udp.sent);
        assert.ok(udp.sent > 100, `only ${udp.sent} datagrams`);
        assert.equal(udp.backends.length, 1);

        const { failed, rows } = await lab.test();
        assert.equal(failed, 0, JSON.stringify(rows.filter((row) => row.status === "failed")));
      }),
  );
}

const ASK = `import socket, sys
for _ in range(8):
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) as connection:
        connection.sendall(b"x\\n")
        print(connection.recv(4096).decode().strip())
`;

/** Which pods answer eight connections, and which addresses they see. */
async function ask(lab: LabHandle, from: string, host: string, port: number) {
  const { stdout, stderr } = await lab.output(from, ["python3", "-c", ASK, host, `${port}`]);
  const lines = stdout.trim().split("\n").map((line) => line.split(/[ :]/));
  assert.equal(lines.length, 8, stderr);
  const column = (at: number) => [...new Set(lines.map((words) => words[at]!))].sort();
  return { pods: column(0), clients: column(1) };
}

/** Connections that go on; `stop` ends them and returns how many were lost. */
async function hold(lab: LabHandle, from: string, end: string) {
  const script = fileURLToPath(new URL("../attack/floods.py", import.meta.url));
  const argv = ["python3", script, "hold", "8", "2", end];
  const child = lab.command(from, argv, { stdin: "piped", stdout: "piped" }).spawn();
  const said = new Listener(child.stdout);
  await said.line(/^ready$/);
  return async () => {
    await child.stdin.close();
    const { idle, busy, errors } = JSON.parse((await said.all()).trim().split("\n").at(-1)!);
    await child.status;
    return { idle, busy, errors };
  };
}

Deno.test(
  "without an agent externalTrafficPolicy Local, affinity and connections hold, also when sessions are evicted",
  LAB_TEST,
  () =>
    withLab({ name: "tdead", nodes: 2, pods: 2, attach: "clsact" }, async (lab) => {
      const backends = ["pod1-1", "pod1-2", "pod2-1", "pod2-2"].map((name) => lab.pod(name));
      const sticky = { name: "sticky", address: "10.96.0.98", backends };
      const [service, ...rest] = serviceManifests([sticky]);
      Object.assign(service!["spec"]!, { sessionAffinity: "ClientIP" });
      lab.writeManifest("sticky", [service!, ...rest, ...endpointSliceManifests([sticky])]);
      await settle(lab.store, [...lab.services(), sticky]);
      const { outside } = lab.store.plan;
      const node = lab.node("node1").address, local = NODE_PORT + 1;
      const known = await ask(lab, "pod1-1", sticky.address, 80);
      assert.equal(known.pods.length, 1);
      const stops = [
        await hold(lab, "pod1-1", `${sticky.address}:80`),
        await hold(lab, outside.name, `${node}:${local}`),
      ];

      for (const name of ["node1", "node2"]) {
        assert.equal(await lab.stopAgent(name, true), "killed");
      }
      const holds = async () => {
        assert.deepEqual(await ask(lab, "pod1-1", sticky.address, 80), known);
        const asked = await ask(lab, outside.name, node, local);
        assert.deepEqual(asked.clients, [outside.address]);
        assert.deepEqual(asked.pods.filter((pod) => !/^pod1-/.test(pod)), []);
        const other = await ask(lab, "pod2-2", sticky.address, 80);
        assert.equal(other.pods.length, 1, "of a client that came after the agent had gone");
      };
      const evict = (...tables: ("sessions" | "assured")[]) => {
        for (const name of ["node1", "node2"]) {
          using plane = openDataPlane(lab.node(name).bpffs);
          for (const table of tables) plane.maps[table].deleteBatch(plane.maps[table].keys());
        }
      };
      await holds();
      evict("sessions");
      await holds();
      for (const stop of stops) assert.deepEqual(await stop(), { idle: 0, busy: 0, errors: [] });
      evict("sessions", "assured"); // as after they timed out
      await holds();
    }),
);

Deno.test(
  "addPod() and deletePod() change a service's backends",
  LAB_TEST,
  () =>
    withLab({ name: "tpods", nodes: 1, pods: 1 }, async (lab) => {
      const client = await lab.addPod("node1", "extra");
      assert.match(client.address, /^10\.244\.1\.\d+$/);
      await lab.publish();
      assert.equal((await lab.test()).failed, 0);
      await lab.deletePod("extra");
      await lab.publish();
      assert.equal((await lab.test()).failed, 0);
      assert.deepEqual(lab.pods.map((pod) => pod.name), ["pod1-1"]);
    }),
);
