/** `pcnk trace` in a lab: it says what the node's programs do, also after the maps were altered behind the agent's back. */
import assert from "node:assert/strict";
import { type DataPlane, openDataPlane } from "../../src/bpf/dataplane.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import type { Trace } from "../../src/view/trace.ts";
import { labTest, pcnkOn } from "./support/lab.ts";

const run = (lab: LabHandle, ...args: string[]) => pcnkOn(lab, "trace", ...args);

/** The trace as JSON, with the exit code. */
async function trace(lab: LabHandle, ...args: string[]): Promise<Trace & { code: number }> {
  const { code, stdout, stderr } = await run(lab, ...args, "-o", "json");
  assert.equal(stderr, "");
  return { code, ...JSON.parse(stdout) };
}

/** Everything in the maps but what living traffic and time change by themselves: sessions, counters, and names for people. */
function dump({ maps }: DataPlane): string[] {
  const quiet = [
    "services",
    "backends",
    "endpoints",
    "config",
    "affinity",
    "maglev",
    "fragments",
  ] as const;
  const network = [
    "remotes",
    "uplinks",
    "node_addrs",
    "vteps",
    "no_masquerade",
    "source_ranges",
  ] as const;
  const monitor = ["monitor", "monitor_ends", "monitor_budget"] as const;
  const text = (_: string, value: unknown) => typeof value === "bigint" ? `${value}n` : value;
  return [...quiet, ...network, ...monitor].flatMap((name) =>
    (maps[name] as { entries(): unknown[] }).entries().map((entry) =>
      `${name} ${JSON.stringify(entry, text)}`
    )
  ).sort();
}

labTest("pcnk trace follows packets of every kind, and changes nothing", {
  name: "ttrace",
  nodes: 2,
  pods: 1,
}, async (lab) => {
  using plane = openDataPlane(lab.store.plan.nodes[0]!.bpffs);
  const before = plane.maps.sessions.keys().length;
  // It would mend what is altered here.
  await lab.stopAgent("node1", true);
  // A service with affinity: a client of its would be remembered.
  const [sticky, kept] = plane.maps.services.entries()
    .find(([{ addr, proto }]) => addr === "10.96.1.1" && proto === 6)!;
  plane.maps.services.set(sticky, { ...kept, affinity_seconds: 100 });
  const maps = dump(plane);
  const [own, other] = ["10.244.1.2", "10.244.2.2"];
  const outside = lab.store.plan.outside.address;
  const node = lab.store.plan.nodes[0]!.address;
  const cases: [args: string[], outcome: Trace["outcome"], text: RegExp, reasons: string[]][] = [
    [["default/pod1-1", "echo-node2"], "sent", /10\.244\.2\.2:8080 on node node2/, [
      "forward_sent",
    ]],
    [["pod1-1", "echo-node1"], "delivered", /10\.244\.1\.2:8080, pod default\/pod1-1/, [
      "forward_delivered",
    ]],
    [[own, `${other}:8080`], "sent", /on node node2/, ["direct_sent"]],
    [[own, "empty"], "rejected", /no backends/, ["rejected_no_backend"]],
    [[own, "10.96.0.10:81"], "rejected", /no such port/, ["rejected_no_port"]],
    [[own, "10.96.0.10"], "replied", /ping/, ["echo_replied"]],
    [[own, `${outside}:53`, "-p", "udp"], "sent", /by eth0, as 192\.168\.50\.11:\d+/, [
      "world_sent",
      "masqueraded",
    ]],
    [[outside, `${node}:30101`], "delivered", /10\.244\.1\.2:8080/, ["forward_delivered"]],
    [[outside, `${node}:30102`], "sent", /10\.244\.2\.2:8080 on node node2/, [
      "forward_sent",
    ]],
    [[outside, `${node}:22`], "stack", /own sockets/, ["pass_no_service"]],
  ];
  for (const [args, outcome, text, reasons] of cases) {
    const found = await trace(lab, ...args);
    const words = args.join(" ");
    assert.equal(found.outcome, outcome, `${words}: ${found.text}`);
    assert.equal(found.code, outcome === "rejected" ? 1 : 0, words);
    assert.match(found.text, text, words);
    const met = found.hops.flatMap(({ reasons }) => reasons.slice(0, 1));
    assert.deepEqual(met, reasons, words);
  }
  assert.equal(plane.maps.sessions.keys().length, before, "a trace left a session");
  assert.deepEqual(dump(plane), maps, "a trace changed a map");

  const [key, entry] = plane.maps.services.entries()
    .find(([{ addr, proto }]) => addr === "10.96.1.2" && proto === 6)!;
  plane.maps.services.set(key, { ...entry, count: 0 });
  assert.equal((await trace(lab, "pod1-1", "echo-node2")).outcome, "rejected");
  const [node1] = lab.store.plan.nodes;
  const notSeenHere: [src: string, dst: string, why: RegExp][] = [
    [node1!.address, "echo", /is this node itself/],
    ["127.0.0.1", "echo", /is this node itself/],
    [node1!.gateway, "echo", /is this node itself/],
    [other, "echo", /is a pod's on node node2/],
    ["198.51.100.10", "echo", /has no address for clients outside/],
  ];
  for (const [src, dst, why] of notSeenHere) {
    const { code, stdout, stderr } = await run(lab, src, dst);
    assert.ok(code > 0 && stdout === "", `${src} ${dst}: ${stdout}`);
    assert.match(stderr, why);
  }
  plane.maps.remotes.delete({ prefixlen: 24, addr: "10.244.2.0" });
  const lost = await trace(lab, own, `${other}:8080`);
  assert.deepEqual(lost.hops[0]!.reasons, ["pass_no_service"]);

  const wrong = await run(lab, "nobody", "echo");
  assert.deepEqual([wrong.code, wrong.stdout], [2, ""]);
  assert.match(wrong.stderr, /no pod default\/nobody on this node/);
  assert.equal((await run(lab, own, `${other}:99999`)).code, 2);
  for (const dst of ["fd00::1", "[fd00::1]:80", "www.example.org:80", "no/such/name"]) {
    const { code, stdout, stderr } = await run(lab, own, dst);
    assert.deepEqual([code, stdout], [2, ""], `${dst}: ${stderr}`);
    assert.ok(stderr.includes(dst), `${dst}: ${stderr}`);
    assert.doesNotMatch(stderr, /\bat .*\.ts:|Error:.*\n\s+at /, "no stack at a user");
  }
});
