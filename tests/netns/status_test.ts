/** `pcnk status` on a node of a lab: well, and with each part of it broken. */
import assert from "node:assert/strict";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { readState } from "../../src/node/state_files.ts";
import type { Finding } from "../../src/view/finding.ts";
import { labTest, pcnkOn } from "./support/lab.ts";

const status = (lab: LabHandle, ...args: string[]) => pcnkOn(lab, "status", ...args);

/** What is not well, as `part: text`, and the exit code. */
async function faults(lab: LabHandle): Promise<{ code: number; found: string[] }> {
  const { code, stdout } = await status(lab, "-o", "json");
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  const bad = findings.filter(({ health }) => health === "bad" || health === "warn");
  for (const { part, next } of bad) assert.ok(next, `${part} tells no next step`);
  return { code, found: bad.map(({ part, text }) => `${part}: ${text}`) };
}

labTest("pcnk status finds what is broken, says what to do, and works without an agent", {
  name: "tstatus",
  nodes: 2,
  pods: 1,
}, async (lab) => {
  await lab.output("node1", ["ip", "link", "add", "docker0", "type", "bridge"]);
  await lab.output("node1", ["ip", "address", "add", "172.17.0.1/16", "dev", "docker0"]);
  const { dir } = lab.node("node1");
  while (!readState(dir, "uplinks")?.devices.some(({ name }) => name === "docker0")) {
    await new Promise((done) => setTimeout(done, 10));
  }
  const well = await status(lab);
  assert.equal(well.code, 0, well.stdout);
  assert.match(well.stdout, /^agent {10}ok {4}runs as process \d+, started \d+s ago\n/);
  assert.match(well.stdout, /\nuplink +ok +eth0, address .*, MTU 1500; has a default route\n/);
  assert.match(well.stdout, /\n +note +none of: docker0 \(a bridge without a NIC\)\n/);
  assert.match(well.stdout, /\npeer .* node2 \(10\.244\.2\.0\/24\) by overlay .* replies in /);

  assert.match(well.stdout, /\nservices .* refused: default\/empty\n +→ pcnk describe service /);
  assert.match(well.stdout, /\napi +ok +not used: objects come from \//);
  assert.match(well.stdout, /\nmaps +ok +fullest: \w+ \d+\.\d %, /);

  const local = ["ip", "addr", "add", "10.96.0.10/32", "dev", "lo"];
  await lab.output("node1", local);
  assert.match(
    (await status(lab)).stdout,
    /\n +note +10\.96\.0\.10 of Service default\/echo is also an address of this node \(lo\): .*\n +→ bind a cache /,
  );
  await lab.output("node1", local.with(2, "del"));

  await lab.stopAgent("node1", true);
  const dead = await faults(lab);
  assert.equal(dead.code, 1);
  assert.equal(dead.found.length, 1);
  assert.match(dead.found[0]!, /^agent: does not run/);

  const link = await lab.output("node1", ["ip", "-br", "link"]);
  const veth = /^(veth\w+)@/m.exec(link.stdout)![1]!;
  await lab.output("node1", ["tc", "filter", "del", "dev", veth, "ingress"]);
  await lab.output("node1", ["tc", "filter", "del", "dev", "eth0", "egress"]);
  await lab.output("node1", ["ip", "link", "set", "pcnk_vxlan", "down"]);
  using plane = openDataPlane(lab.store.plan.nodes[0]!.bpffs);
  const [key, entry] = plane.maps.services.entries().find(([{ port }]) => port > 0)!;
  plane.maps.services.set({ ...key, addr: "10.99.9.9", port: 80 }, {
    ...entry,
    id: 4_000_000_000,
  });
  const { found } = await faults(lab);
  const all = found.join("\n");
  assert.match(all, new RegExp(`^pods: lbrp_from_pod is not attached to ${veth}$`, "m"));
  assert.match(all, /^uplink: k8sd_to_uplink is not attached to eth0$/m);
  assert.match(all, /^services: 10\.99\.9\.9:80 is an entry of no Service$/m);
  assert.match(all, /^peer: node2 .* no reply/m);
});
