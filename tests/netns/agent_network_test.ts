/** The agent and the other nodes: routes, tunnel and maps follow Node objects; services for the node's own processes. */
import { zero } from "../../src/bpf/codec.ts";
import { session as sessionCodec } from "../../src/bpf/layout.ts";
import assert from "node:assert/strict";
import { NODE_ADDR_FLAG, NODE_FLAG, REMOTE_MODE, SESSION_FLAG } from "../../src/bpf/layout.ts";
import { SESSION_ZONE } from "../../src/bpf/layout.ts";
import { listAttachments } from "../../src/bpf/attach.ts";
import { listCgroupHooks } from "../../src/bpf/cgroup.ts";
import { ROUTE_PROTOCOL } from "../../src/routing/diff.ts";
import { isCgroup2 } from "../../src/linux/mount.ts";
import { readSysctl, writeSysctl } from "../../src/linux/sysctl.ts";
import { testCgroup } from "../support/cgroup.ts";
import { Sandbox } from "../support/sandbox.ts";
import { AgentPlace, type AgentProcess, test } from "./support/agent.ts";

interface NodeSpec {
  address: string;
  podCIDR: string;
  direct?: boolean;
  publicIP?: string;
}

function nodeYaml(name: string, { address, podCIDR, direct, publicIP }: NodeSpec): string {
  const annotations = {
    ...(direct ? { "pcnk.io/direct-routing": "true" } : {}),
    ...(publicIP ? { "pcnk.io/public-ip": publicIP } : {}),
  };
  return `apiVersion: v1
kind: Node
metadata:
  name: ${name}
  annotations: ${JSON.stringify(annotations)}
spec:
  podCIDR: ${podCIDR}
status:
  addresses:
  - type: InternalIP
    address: ${address}
`;
}

function writeNode(place: AgentPlace, name: string, spec: NodeSpec): void {
  place.write(`${name}.yaml`, nodeYaml(name, spec));
}

/** A node with an uplink at 192.0.2.1/24, and its own Node object. */
function prepare(place: AgentPlace, direct = false) {
  const nl = place.netlink();
  nl.addLink({ kind: "veth", name: "eth7", up: true, peer: { name: "other" } });
  nl.setLink(nl.link("other")!.index, { up: true });
  const { index: ifindex } = nl.link("eth7")!;
  nl.addAddr({ ifindex, address: "192.0.2.1", prefixLength: 24 });
  writeNode(place, "node1", { address: "192.0.2.1", podCIDR: "10.244.1.0/24", direct });
  return nl;
}

const routed = (agent: AgentProcess) => agent.log(({ msg }) => msg === "routes are up to date");

/** Our routes to other nodes, `10.244.2.0/24 via 10.244.2.0 dev pcnk_vxlan`. */
function ownRoutes(place: AgentPlace): string[] {
  using nl = place.netlink();
  const names = new Map(nl.links().map(({ index, name }) => [index, name]));
  return nl.routes()
    .filter(({ protocol, type }) =>
      protocol === ROUTE_PROTOCOL && (type ?? "unicast") === "unicast"
    )
    .map(({ destination, gateway, ifindex }) =>
      `${destination} via ${gateway} dev ${names.get(ifindex!)}`
    )
    .sort();
}

/** The `remotes` map: `10.244.2.0/24: 192.0.2.2 by 1`. */
function remotes(place: AgentPlace): string[] {
  using dataPlane = place.dataPlane();
  return dataPlane.maps.remotes.entries()
    .map(([{ addr, prefixlen }, { via, mode }]) => `${addr}/${prefixlen}: ${via} by ${mode}`)
    .sort();
}

test(
  "agent follows nodes that join, change their podCIDR or address, and leave",
  async (place) => {
    using nl = prepare(place);
    const foreign = {
      destination: "203.0.113.0/24",
      gateway: "192.0.2.9",
      ifindex: nl.link("eth7")!.index,
    };
    nl.addRoute(foreign);
    const agent = await place.start("--uplink", "eth7");
    assert.deepEqual(ownRoutes(place), []);

    writeNode(place, "node2", { address: "192.0.2.2", podCIDR: "10.244.2.0/24" });
    await routed(agent);
    assert.deepEqual(ownRoutes(place), ["10.244.2.0/24 via 10.244.2.0 dev pcnk_vxlan"]);
    assert.deepEqual(remotes(place), [`10.244.2.0/24: 192.0.2.2 by ${REMOTE_MODE.OVERLAY}`]);

    writeNode(place, "node2", { address: "192.0.2.3", podCIDR: "10.244.9.0/24" });
    await routed(agent);
    assert.deepEqual(ownRoutes(place), ["10.244.9.0/24 via 10.244.9.0 dev pcnk_vxlan"]);
    assert.deepEqual(remotes(place), [`10.244.9.0/24: 192.0.2.3 by ${REMOTE_MODE.OVERLAY}`]);

    place.remove("node2.yaml");
    await routed(agent);
    assert.deepEqual(ownRoutes(place), []);
    assert.deepEqual(remotes(place), []);
    assert.ok(nl.routes().some(({ destination }) => destination === foreign.destination));
  },
);

test(
  "agent routes directly to a node of the same subnet that asks for it too",
  async (place) => {
    using _nl = prepare(place, true);
    writeNode(place, "node2", { address: "192.0.2.2", podCIDR: "10.244.2.0/24", direct: true });
    writeNode(place, "node3", { address: "192.0.2.3", podCIDR: "10.244.3.0/24" });
    await place.start("--uplink", "eth7");
    assert.deepEqual(ownRoutes(place), [
      "10.244.2.0/24 via 192.0.2.2 dev eth7",
      "10.244.3.0/24 via 10.244.3.0 dev pcnk_vxlan",
    ]);
    assert.deepEqual(remotes(place), [
      `10.244.2.0/24: 192.0.2.2 by ${REMOTE_MODE.DIRECT}`,
      `10.244.3.0/24: 192.0.2.3 by ${REMOTE_MODE.OVERLAY}`,
    ]);
  },
);

test("agent mends routes, device and entries that were altered, and a restart changes nothing", async (place) => {
  using nl = prepare(place);
  writeNode(place, "node2", { address: "192.0.2.2", podCIDR: "10.244.2.0/24" });
  const agent = await place.start("--uplink", "eth7");
  const right = { routes: ownRoutes(place), remotes: remotes(place) };
  agent.skip();
  nl.delLink(nl.link("pcnk_vxlan")!.index);
  await routed(agent);
  assert.deepEqual({ routes: ownRoutes(place), remotes: remotes(place) }, right);
  {
    using dataPlane = place.dataPlane();
    const ifindex = dataPlane.maps.remotes.entries()[0]?.[1].ifindex;
    assert.equal(ifindex, nl.link("pcnk_vxlan")!.index);
  }
  await agent.end("SIGKILL");
  const before = nl.link("pcnk_vxlan")!.index;
  const again = await place.start("--uplink", "eth7");
  assert.equal(nl.link("pcnk_vxlan")!.index, before);
  assert.ok(!again.lines.some(({ msg }) => msg === "routes are up to date"), again.transcript());
});

test("agent tells programs whose addresses are whose, and what is not masqueraded", async (place) => {
  using nl = prepare(place);
  writeNode(place, "node2", { address: "192.0.2.2", podCIDR: "10.244.2.0/24" });
  const agent = await place.start(
    "--uplink",
    "eth7",
    "--non-masquerade-cidrs",
    "10.0.0.0/8",
    "--snat-ports",
    "2000-2999",
  );
  // Once more: what is right must stay.
  writeNode(place, "node3", {
    address: "192.0.2.3",
    podCIDR: "10.244.3.0/24",
    publicIP: "203.0.113.3",
  });
  await routed(agent);
  using dataPlane = place.dataPlane();
  const { node_addrs, vteps, no_masquerade, uplinks, config } = dataPlane.maps;
  const flags = Object.fromEntries(
    node_addrs.entries().map(([{ addr }, { flags }]) => [addr, flags]),
  );
  const { LOCAL } = NODE_ADDR_FLAG;
  assert.deepEqual(flags, {
    "10.244.1.0": LOCAL, // of the overlay's device
    "192.0.2.1": LOCAL,
    "192.0.2.2": 0,
    "192.0.2.3": 0,
  });
  const sources = vteps.entries().map(([{ addr }]) => addr).sort();
  assert.deepEqual(sources, ["192.0.2.2", "192.0.2.3", "203.0.113.3"]);
  const inside = no_masquerade.entries().map(([{ addr, prefixlen }]) => `${addr}/${prefixlen}`)
    .sort();
  assert.deepEqual(inside, ["10.0.0.0/8", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"]);
  assert.deepEqual(uplinks.entries(), [
    [{ ifindex: nl.link("eth7")!.index }, { addr: "192.0.2.1", mtu: 1500 }],
  ]);
  const {
    node_addr,
    pod_cidr,
    pod_mask,
    snat_addr,
    snat_first,
    snat_last,
    flags: set,
    overlay_vni,
  } = config.get(0)!;
  assert.deepEqual(
    { node_addr, pod_cidr, pod_mask, snat_addr, snat_first, snat_last, set, overlay_vni },
    {
      node_addr: "192.0.2.1",
      pod_cidr: "10.244.1.0",
      pod_mask: "255.255.255.0",
      snat_addr: "10.244.1.1",
      snat_first: 2000,
      snat_last: 2999,
      set: NODE_FLAG.MASQUERADE | NODE_FLAG.KNOWN_VTEPS | NODE_FLAG.SOURCE_CHECK |
        NODE_FLAG.UPLINK_CHECK | NODE_FLAG.TUNNELLED,
      overlay_vni: 42,
    },
  );
});

test("agent says why a node cannot be reached, once", async (place) => {
  using _nl = prepare(place);
  writeNode(place, "node2", { address: "192.0.2.2", podCIDR: "10.244.1.0/24" });
  const agent = await place.start("--uplink", "eth7");
  const told = agent.lines.filter(({ object }) => object === "Node node2");
  assert.equal(told.length, 1, agent.transcript());
  assert.match(told[0]!.msg, /10\.244\.1\.0\/24/);
});

test("agent attaches hostlb to the cgroup it is given, and takes it away when it is off", async (place) => {
  using _nl = prepare(place);
  using sandbox = new Sandbox();
  const cgroup = testCgroup(sandbox);
  const agent = await place.start("--cgroup", cgroup);
  assert.ok(listCgroupHooks(place.bpffs).length >= 4);
  await agent.end("SIGTERM");
  assert.ok(listCgroupHooks(place.bpffs).length >= 4, "it stays without the agent");
  await place.start("--cgroup", cgroup, "--socket-lb", "off");
  assert.deepEqual(listCgroupHooks(place.bpffs), []);
});

for (
  const [what, mount, found] of [
    [
      "below /sys/fs/cgroup",
      "mount -t cgroup2 none /sys/fs/cgroup/unified",
      "/sys/fs/cgroup/unified",
    ],
    ["itself where there is only v1", "true", "/run/pcnk-cgroup2"],
  ] as const
) {
  test(
    `agent finds or mounts cgroup v2: ${what}`,
    async (place) => {
      using _nl = prepare(place);
      using sandbox = new Sandbox();
      // In a cgroup namespace, whose root is this cgroup and not the machine's; a tmpfs for /run/pcnk-cgroup2.
      const inner =
        `umount -l /sys/fs/cgroup/unified; ${mount}; mount -t tmpfs none /run; exec "$@"`;
      const script = 'echo $$ >"$1/cgroup.procs"; shift; exec unshare -m -C sh -c "$@"';
      place.wrapper = ["sh", "-c", script, "sh", testCgroup(sandbox), inner, "sh"];
      const agent = await place.start("--cgroup", "/sys/fs/cgroup");
      const told = agent.lines.find(({ msg }) => /node's own processes/.test(msg));
      assert.deepEqual([told?.level, told?.cgroup], ["info", found], agent.transcript());
      await agent.end("SIGKILL");
    },
    isCgroup2("/sys/fs/cgroup"),
  );
}

test("agent goes on without hostlb where its cgroup is none, and says so", async (place) => {
  using _nl = prepare(place);
  const agent = await place.start("--cgroup", place.dir);
  const told = agent.lines.find(({ event }) => event === "NoSocketLB");
  assert.match(told?.msg ?? "", /--cgroup/);
});

test("agent ends flows that are masqueraded as an address the node has no more", async (place) => {
  using nl = prepare(place);
  const agent = await place.start("--uplink", "eth7");
  using dataPlane = place.dataPlane();
  const { sessions } = dataPlane.maps;
  const put = (pod: string, as: string) => {
    const world = "203.0.113.5";
    const common = { ...zero(sessionCodec), state: 1 };
    const { MASQUERADE, REPLY } = SESSION_FLAG;
    sessions.set(
      { src: pod, dst: world, sport: 5000, dport: 80, proto: 17, zone: SESSION_ZONE.MASQUERADE },
      { ...common, src: as, dst: world, sport: 2000, dport: 80, flags: MASQUERADE },
    );
    sessions.set(
      { src: world, dst: as, sport: 80, dport: 2000, proto: 17, zone: SESSION_ZONE.SERVICE },
      { ...common, src: world, dst: pod, sport: 80, dport: 5000, flags: MASQUERADE | REPLY },
    );
  };
  put("10.244.1.5", "192.0.2.1");
  put("10.244.1.6", "192.0.2.99");
  const ifindex = nl.link("eth7")!.index;
  nl.addAddr({ ifindex, address: "192.0.2.50", prefixLength: 24 });
  writeNode(place, "node1", { address: "192.0.2.50", podCIDR: "10.244.1.0/24" });
  await routed(agent);
  const left = sessions.entries().map(([{ src }]) => src).sort();
  assert.deepEqual(left, ["10.244.1.6", "203.0.113.5"]);
});

test("agent takes k8sdispatcher off the uplink of the agent before it", async (place) => {
  using nl = prepare(place);
  nl.addLink({ kind: "veth", name: "eth8", up: true, peer: { name: "other8" } });
  const { index } = nl.link("eth8")!;
  nl.addAddr({ ifindex: index, address: "198.51.100.1", prefixLength: 24 });
  const where = () =>
    listAttachments({ bpffs: place.bpffs, nl }).filter(({ name }) => name.endsWith("_uplink"))
      .map(({ ifindex }) => nl.link(ifindex)!.name);
  const agent = await place.start("--uplink", "eth7", "--attach", "clsact");
  assert.deepEqual(where(), ["eth7", "eth7"]);
  await agent.end("SIGTERM");
  await place.start("--uplink", "eth8", "--attach", "clsact");
  assert.deepEqual(where(), ["eth8", "eth8"]);
});

test(
  "agent changes nothing when its manifests are not there, or its bpffs is something else",
  async (place) => {
    Deno.removeSync(place.manifests);
    const agent = place.spawn();
    assert.equal((await agent.exit).code, 1);
    assert.match(agent.errors, /no such directory/);
    assert.throws(() => Deno.statSync(place.stateDir), Deno.errors.NotFound);
    assert.throws(() => Deno.statSync(place.bpffs), Deno.errors.NotFound);
    Deno.mkdirSync(place.manifests);
    Deno.mkdirSync(place.bpffs);
    Deno.writeTextFileSync(`${place.bpffs}/precious`, "x");
    const again = place.spawn();
    assert.equal((await again.exit).code, 1);
    assert.match(again.errors, /files in it/);
    assert.equal(Deno.readTextFileSync(`${place.bpffs}/precious`), "x");
  },
);

/** A device eth8 with an address, and its Node's default routes by both. */
function secondUplink(nl: ReturnType<typeof prepare>) {
  nl.addLink({ kind: "veth", name: "eth8", up: true, peer: { name: "other8" } });
  nl.setLink(nl.link("other8")!.index, { up: true });
  const { index: ifindex } = nl.link("eth8")!;
  nl.addAddr({ ifindex, address: "198.51.100.1", prefixLength: 24 });
  const destination = "0.0.0.0/0";
  const first = nl.link("eth7")!.index;
  nl.addRoute({ destination, gateway: "192.0.2.254", ifindex: first, metric: 100 });
  nl.addRoute({ destination, gateway: "198.51.100.254", ifindex, metric: 200 });
  return ifindex;
}

/** Devices with k8sdispatcher's two programs. */
function dispatched(place: AgentPlace, nl: ReturnType<typeof prepare>): string[] {
  return listAttachments({ bpffs: place.bpffs, nl }).filter(({ name }) => name.endsWith("_uplink"))
    .map(({ ifindex }) => nl.link(ifindex)!.name).sort();
}

/** Waits for the agent to have followed the devices until something holds. */
async function until(agent: AgentProcess, holds: () => boolean) {
  while (!holds()) await agent.log(({ msg }) => msg === "followed the node's devices");
}

for (const named of [true, false]) {
  test(`agent serves ${named ? "all uplinks that are named" : "the uplinks of all default routes"}`, async (place) => {
    using nl = prepare(place);
    const second = secondUplink(nl);
    await place.start(...(named ? ["--uplink", "eth7,eth8"] : []), "--attach", "clsact");
    assert.deepEqual(dispatched(place, nl), ["eth7", "eth7", "eth8", "eth8"]);
    using dataPlane = place.dataPlane();
    const { uplinks, node_addrs } = dataPlane.maps;
    assert.deepEqual(
      new Map(uplinks.entries().map(([{ ifindex }, { addr }]) => [ifindex, addr])),
      new Map([[nl.link("eth7")!.index, "192.0.2.1"], [second, "198.51.100.1"]]),
    );
    for (const addr of ["192.0.2.1", "198.51.100.1"]) {
      assert.equal(node_addrs.get({ addr })?.flags, NODE_ADDR_FLAG.LOCAL, addr);
    }
  });
}

test("agent follows addresses and default routes as they come and go", async (place) => {
  using nl = prepare(place);
  const agent = await place.start("--attach", "clsact");
  using dataPlane = place.dataPlane();
  const { node_addrs, uplinks } = dataPlane.maps;
  // The InternalIP's device is an uplink without a default route.
  assert.deepEqual(dispatched(place, nl), ["eth7", "eth7"]);
  const ifindex = secondUplink(nl);
  await until(agent, () => dispatched(place, nl).length === 4);
  const extra = { ifindex, address: "198.51.100.77", prefixLength: 24 };
  nl.addAddr(extra);
  await until(agent, () => node_addrs.get({ addr: extra.address }) !== undefined);
  nl.delAddr(extra);
  await until(agent, () => node_addrs.get({ addr: extra.address }) === undefined);
  nl.delLink(ifindex);
  await until(agent, () => uplinks.entries().length === 1);
  assert.equal(node_addrs.get({ addr: "198.51.100.1" }), undefined);
});

test("agent routes directly by the uplink that a node is behind", async (place) => {
  using nl = prepare(place, true);
  const second = secondUplink(nl);
  nl.addAddr({ ifindex: second, address: "192.0.2.130", prefixLength: 25 });
  nl.delAddr({ ifindex: nl.link("eth7")!.index, address: "192.0.2.1", prefixLength: 24 });
  nl.addAddr({ ifindex: nl.link("eth7")!.index, address: "192.0.2.1", prefixLength: 25 });
  const address = "192.0.2.131";
  writeNode(place, "node1", { address: "192.0.2.130", podCIDR: "10.244.1.0/24", direct: true });
  writeNode(place, "node2", { address, podCIDR: "10.244.2.0/24", direct: true });
  await place.start("--uplink", "eth7,eth8");
  using dataPlane = place.dataPlane();
  const [[, remote] = []] = dataPlane.maps.remotes.entries();
  assert.deepEqual([remote?.mode, remote?.ifindex], [REMOTE_MODE.DIRECT, second]);
});

test("agent reserves masquerade's ports and NodePorts where the kernel would give them away", async (place) => {
  using _nl = prepare(place);
  const sysctl = (name: string) => `net.ipv4.ip_local_${name}`;
  writeSysctl(sysctl("port_range"), "20000 60999", place.netns);
  writeSysctl(sysctl("reserved_ports"), "50000\n", place.netns);
  const reserved = () => readSysctl(sysctl("reserved_ports"), place.netns);
  const first = place.spawn(
    "--snat-ports",
    "1024-29999",
    "--service-node-port-range",
    "61000-62000",
  );
  await first.log(({ msg }) => msg === "ready");
  assert.equal(reserved(), "20000-29999,50000");
  await first.end("SIGTERM");
  const wide = place.spawn(
    "--snat-ports",
    "1024-60500",
    "--service-node-port-range",
    "61000-62000",
  );
  assert.equal((await wide.exit).code, 1);
  assert.match(wide.errors, /snatPorts 1024-60500 would leave .* 499 ports .*ip_local_port_range/);
  assert.equal(reserved(), "20000-29999,50000", "changed nevertheless");
  const other = await place.start("--snat-ports", "1024-19999");
  assert.equal(reserved(), "30000-32767,50000");
  await other.end("SIGTERM");
});
