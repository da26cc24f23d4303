/** The agent and the node's devices: the pods' bridge, programs that got lost, endpoints whose veth is gone; sessions. */
import { zero } from "../../src/bpf/codec.ts";
import { session as sessionCodec } from "../../src/bpf/layout.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { isAttached } from "../../src/bpf/attach.ts";
import { SESSION_FLAG, SESSION_STATE } from "../../src/bpf/layout.ts";
import type { Session, SessionKey } from "../../src/bpf/layout.ts";
import type { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { readState } from "../../src/node/state_files.ts";
import { writeAttachment } from "../../src/node/attachments_support.ts";
import * as needs from "../support/needs.ts";
import { AgentPlace, serviceYaml, test } from "./support/agent.ts";

/** How a program is attached to a device's hook, if the version that is pinned is. */
function modeOf(
  place: AgentPlace,
  nl: RtNetlink,
  device: string,
  direction: "ingress" | "egress",
  program: string,
): string | undefined {
  using dataPlane = place.dataPlane();
  const programFd = dataPlane.programFd(program);
  const { index } = nl.link(device)!;
  return isAttached({ bpffs: place.bpffs, nl, ifindex: index, direction, programFd })?.mode;
}

for (const attach of ["tcx", "clsact"] as const) {
  test(
    `agent attaches to the pods' bridge when it appears, and when it comes back (${attach})`,
    async (place) => {
      using nl = place.netlink();
      const agent = await place.start("--attach", attach, "--bridge", "br-pods");
      for (let i = 0; i < 2; i++) {
        nl.addLink({ kind: "bridge", name: "br-pods" });
        await agent.log(({ mended }) => mended === "lbrp_to_pod on br-pods");
        assert.equal(modeOf(place, nl, "br-pods", "egress", "lbrp_to_pod"), attach);
        nl.delLink(nl.link("br-pods")!.index);
      }
    },
    attach === "tcx" && !needs.kernel(6, 6),
  );
}

test("agent puts programs back and drops the endpoint of a veth that is gone", async (place) => {
  using nl = place.netlink();
  nl.addLink({ kind: "bridge", name: "pcnk0" });
  nl.addLink({
    kind: "veth",
    name: "veth1",
    master: nl.link("pcnk0")!.index,
    peer: { name: "pod1" },
  });
  const host = nl.link("veth1")!;
  const first = await place.start();
  {
    using dataPlane = place.dataPlane();
    const endpoint = { mac: "02:00:00:00:00:01", gateway: "10.244.0.1" };
    dataPlane.maps.endpoints.set({ addr: "10.244.0.2" }, { ...endpoint, ifindex: host.index });
    dataPlane.maps.endpoints.set({ addr: "10.244.0.3" }, { ...endpoint, ifindex: 9999 });
  }
  const addresses = [{ address: "10.244.0.2", gateway: "10.244.0.1" }];
  writeAttachment(place.stateDir, { hostIfindex: host.index, hostIfname: "veth1", addresses });
  Deno.writeTextFileSync(join(place.stateDir, "attachments/c2@eth0.json"), "{half a rec");
  await first.end("SIGTERM");
  await place.start();
  assert.notEqual(modeOf(place, nl, "veth1", "ingress", "lbrp_from_pod"), undefined);
  assert.notEqual(modeOf(place, nl, "pcnk0", "egress", "lbrp_to_pod"), undefined);
  using dataPlane = place.dataPlane();
  assert.deepEqual(dataPlane.maps.endpoints.keys(), [{ addr: "10.244.0.2" }]);
});

test("agent drops an endpoint whose veth went", async (place) => {
  using nl = place.netlink();
  nl.addLink({ kind: "veth", name: "veth1", peer: { name: "pod1" } });
  const agent = await place.start();
  {
    using dataPlane = place.dataPlane();
    dataPlane.maps.endpoints.set({ addr: "10.244.0.2" }, {
      mac: "02:00:00:00:00:01",
      gateway: "10.244.0.1",
      ifindex: nl.link("veth1")!.index,
    });
  }
  nl.delLink(nl.link("veth1")!.index);
  await agent.log(({ mended }) => mended === "endpoint 10.244.0.2");
  using dataPlane = place.dataPlane();
  assert.deepEqual(dataPlane.maps.endpoints.keys(), []);
});

test("agent takes the default route's device as uplink and tells programs its address", async (place) => {
  using nl = place.netlink();
  nl.addLink({ kind: "veth", name: "eth7", up: true, peer: { name: "other" } });
  nl.setLink(nl.link("other")!.index, { up: true });
  const { index: ifindex } = nl.link("eth7")!;
  const agent = await place.start("--timeouts-udp", "7s");
  const nodeConfig = () => {
    using dataPlane = place.dataPlane();
    return dataPlane.maps.config.get(0)!;
  };
  assert.equal(nodeConfig().node_addr, "0.0.0.0");
  assert.equal(nodeConfig().udp_timeout, 7_000_000_000n);
  nl.addAddr({ ifindex, address: "192.0.2.7", prefixLength: 24 });
  nl.addRoute({ destination: "0.0.0.0/0", gateway: "192.0.2.1", ifindex });
  await agent.log(({ msg, device }) => msg === "uplink" && device === "eth7");
  assert.equal(nodeConfig().node_addr, "192.0.2.7");
});

test("agent takes named devices when they appear, and NodePorts follow the node's addresses", async (place) => {
  using nl = place.netlink();
  const agent = place.spawn("--uplink", "wan0,eth*");
  const missing = await agent.log(({ event }) => event === "UplinkMissing");
  assert.match(missing.msg, /^uplink wan0: there is no such device/);
  await agent.log(({ msg }) => msg === "ready");
  const followed = () => agent.log(({ msg }) => msg === "followed the node's devices");
  const state = () => readState(place.stateDir, "uplinks")!;
  const local = () => {
    using dataPlane = place.dataPlane();
    return dataPlane.maps.node_addrs.keys().map(({ addr }) => addr).sort();
  };

  nl.addLink({ kind: "veth", name: "eth7", up: true, peer: { name: "other" } });
  const { index: ifindex } = nl.link("eth7")!;
  nl.addAddr({ ifindex, address: "192.0.2.7", prefixLength: 24 });
  await agent.log(({ msg, device, address }) =>
    msg === "uplink" && device === "eth7" && address === "192.0.2.7"
  );
  // Before or after that line: a sync may have found the device while it had no address.
  const attached = ({ msg, device }: { msg: string; device?: unknown }) =>
    msg === "k8sd_from_uplink attached" && device === "eth7";
  if (!agent.lines.some(attached)) await agent.log(attached);
  assert.deepEqual(state().missing, ["wan0"]);

  nl.setLink(ifindex, { up: false });
  nl.setLink(ifindex, { name: "wan0" });
  await agent.log(({ msg, device }) => msg === "uplink" && device === "wan0");
  assert.notEqual(modeOf(place, nl, "wan0", "egress", "k8sd_to_uplink"), undefined);
  assert.deepEqual(state().devices.map(({ name, why }) => `${name} ${why}`), [
    "wan0 named by the setting uplink",
  ]);

  const until = async (...wanted: string[]) => {
    while (local().join() !== wanted.join()) await followed();
  };
  const vip = { ifindex: nl.link("lo")!.index, address: "203.0.113.9", prefixLength: 32 };
  nl.addAddr(vip);
  await until("192.0.2.7", "203.0.113.9");
  nl.delAddr(vip);
  await until("192.0.2.7");
});

/** Both entries of a flow from 10.244.0.9:1234 through 10.96.0.1:80 to a backend. */
function flow(backend: string, proto: number, state: number): [SessionKey, Session][] {
  const forward = { src: "10.244.0.9", dst: "10.96.0.1", sport: 1234, dport: 80, proto, zone: 0 };
  const becomes = { src: "10.244.0.9", dst: backend, sport: 1234, dport: 8080 };
  const common = { ...zero(sessionCodec), service_id: 1 };
  return [
    [forward, { ...common, ...becomes, state, flags: 0 }],
    [
      { src: backend, dst: "10.244.0.9", sport: 8080, dport: 1234, proto, zone: 0 },
      {
        ...common,
        ...{ src: "10.96.0.1", dst: "10.244.0.9", sport: 80, dport: 1234 },
        state: SESSION_STATE.ESTABLISHED,
        flags: SESSION_FLAG.REPLY,
      },
    ],
  ];
}

for (
  const [name, proto, state, ends] of [
    ["a UDP flow", 17, SESSION_STATE.NEW, true],
    ["a TCP handshake", 6, SESSION_STATE.NEW, true],
    ["an established TCP connection", 6, SESSION_STATE.ESTABLISHED, false],
  ] as const
) {
  test(`agent ${ends ? "ends" : "keeps"} ${name} whose backend is removed`, async (place) => {
    const yaml = (...endpoints: string[]) =>
      serviceYaml("web", "10.96.0.1", endpoints, proto === 6 ? "TCP" : "UDP");
    place.write("web.yaml", yaml("10.1.0.1", "10.1.0.2"));
    const agent = await place.start();
    using dataPlane = place.dataPlane();
    const { sessions } = dataPlane.maps;
    const [gone, kept] = [flow("10.1.0.1", proto, state), flow("10.1.0.2", proto, state)];
    // One client port each: the flows are different ones.
    for (const [key, value] of kept) {
      for (const side of [key, value]) {
        if (side.sport === 1234) side.sport = 4321;
        if (side.dport === 1234) side.dport = 4321;
      }
    }
    sessions.setBatch([...gone, ...kept]);
    agent.skip();
    place.write("web.yaml", yaml("10.1.0.2"));
    await agent.updated();
    if (ends) await agent.log(({ msg }) => msg === "sessions of removed backends ended");
    const present = (entries: [SessionKey, Session][]) =>
      entries.map(([key]) => sessions.get(key) !== undefined);
    assert.deepEqual(present(gone), [!ends, !ends]);
    assert.deepEqual(present(kept), [true, true]);
  });
}

test("agent ends UDP flows at its start whose backend went while none ran", async (place) => {
  place.write("web.yaml", serviceYaml("web", "10.96.0.1", ["10.1.0.2"], "UDP"));
  const agent = await place.start();
  await agent.end("SIGKILL");
  using dataPlane = place.dataPlane();
  const { sessions } = dataPlane.maps;
  sessions.setBatch(flow("10.1.0.1", 17, SESSION_STATE.NEW));
  await place.start();
  assert.deepEqual(sessions.keys(), []);
});
