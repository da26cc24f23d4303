/** Settings that change while an agent runs: in etcd, as etcdctl writes them, and in its own configuration file. */
import assert from "node:assert/strict";
import { ROUTE_PROTOCOL } from "../../src/routing/diff.ts";
import { Etcd, haveEtcd } from "../support/etcd.ts";
import * as needs from "../support/needs.ts";
import { AgentPlace, type AgentProcess } from "./support/agent.ts";

const ignore = !needs.root() || !needs.file("dist/artifacts/lbrp.bpf.o") || !haveEtcd();

/** A place with an uplink at 192.0.2.1/24 and Nodes node1 (this one), node2, node20. */
function prepare(): AgentPlace {
  const place = new AgentPlace();
  using nl = place.netlink();
  nl.setLink(nl.link("lo")!.index, { up: true });
  nl.addLink({ kind: "veth", name: "eth7", up: true, peer: { name: "other" } });
  nl.setLink(nl.link("other")!.index, { up: true });
  nl.addAddr({ ifindex: nl.link("eth7")!.index, address: "192.0.2.1", prefixLength: 24 });
  for (const index of [1, 2, 20]) {
    place.write(
      `node${index}.yaml`,
      `apiVersion: v1
kind: Node
metadata: {name: node${index}}
spec: {podCIDR: 10.244.${index}.0/24}
status: {addresses: [{type: InternalIP, address: 192.0.2.${index}}]}
`,
    );
  }
  return place;
}

/** Our routes to other nodes, `10.244.2.0/24 eth7`. */
function routes(place: AgentPlace): string[] {
  using nl = place.netlink();
  return nl.routes().filter(({ protocol, gateway }) =>
    protocol === ROUTE_PROTOCOL && gateway !== undefined
  )
    .map(({ destination, ifindex }) => `${destination} ${nl.link(ifindex!)!.name}`).sort();
}

const overlay = ["10.244.2.0/24 pcnk_vxlan", "10.244.20.0/24 pcnk_vxlan"];
const direct = ["10.244.2.0/24 eth7", "10.244.20.0/24 pcnk_vxlan"];

/** Waits until the routes are these; each change of them is a line of the log. */
async function until(place: AgentPlace, agent: AgentProcess, wanted: string[]) {
  while (JSON.stringify(routes(place)) !== JSON.stringify(wanted)) {
    await agent.log(({ msg }) => msg === "routes are up to date");
  }
}

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

test("pcnk agent follows etcdctl put and del; without etcd, and after a restart without it, what was said last stays", async () => {
  await using place = prepare();
  await using etcd = await Etcd.start({ netns: place.netns });
  const flags = ["--uplink", "eth7", "--etcd-url", etcd.url];
  const agent = await place.start(...flags);
  assert.deepEqual(routes(place), overlay);
  await etcd.ctl("put", "/nodes/node1/directRouting", "true");
  await etcd.ctl("put", "/nodes/node2/directRouting", "true");
  await until(place, agent, direct);
  await etcd.ctl("put", "/nodes/node1/directRouting", "ture");
  const { msg } = await agent.log(({ event }) => event === "BadSetting");
  assert.match(
    msg,
    /^etcd key \/nodes\/node1\/directRouting: "ture" must be true or false; ignored, "true" stays$/,
  );
  await etcd.kill();
  await agent.log(({ event }) => event === "EtcdAway");
  assert.deepEqual(routes(place), direct);
  assert.equal((await agent.end("SIGTERM")).code, 0);
  const again = await place.start(...flags);
  assert.deepEqual(routes(place), direct, "as it was kept");
  await etcd.run();
  await again.log(({ event }) => event === "EtcdBack");
  await etcd.ctl("del", "/nodes/node2/directRouting");
  await until(place, again, overlay);
  assert.equal((await again.end("SIGTERM")).code, 0);
  assert.deepEqual(routes(place), overlay, "the data plane stays");
});

test("pcnk agent follows its configuration file: live settings at once, a mistake changes nothing", async () => {
  await using place = prepare();
  const file = `${place.dir}/config.yaml`;
  const write = (text: string) => {
    Deno.writeTextFileSync(`${file}.new`, text);
    Deno.renameSync(`${file}.new`, file);
  };
  write("uplink: eth7\nvtepsRange: 10.18.0.0/16\n");
  const agent = await place.start("--config", file);
  assert.equal(agent.lines.some(({ msg }) => /^vtepsRange .* has no effect/.test(msg)), true);
  assert.deepEqual(routes(place), overlay);
  const timeout = () => {
    using dataPlane = place.dataPlane();
    return dataPlane.maps.config.get(0)!.udp_timeout;
  };
  write("uplink: eth7\nrouting: direct\ntimeouts: {udp: 7}\n");
  await until(place, agent, ["10.244.2.0/24 eth7", "10.244.20.0/24 eth7"]);
  assert.equal(timeout(), 7_000_000_000n);
  write("uplink: eth7\nrouting: bridge\n");
  await agent.log(({ event }) => event === "BadConfig");
  assert.equal(timeout(), 7_000_000_000n);
  write("uplink: eth7\nbridge: br7\n");
  await agent.log(({ event }) => event === "RestartNeeded");
  await until(place, agent, overlay);
  await agent.end("SIGTERM");
});
