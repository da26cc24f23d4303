/** `pcnk status` on a node of a lab: well, and with each part of it broken. */
import assert from "node:assert/strict";
import { PLUGIN_FOLDERS } from "../../src/node/conflist.ts";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { downLab } from "../../src/lab/down.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { isThere } from "../../src/lab/leftovers.ts";
import { upLab } from "../../src/lab/up.ts";
import type { Finding } from "../../src/view/finding.ts";
import { file, root } from "../support/needs.ts";
import { pcnk } from "../support/pcnk.ts";

const plugins = PLUGIN_FOLDERS.map((folder) => `${folder}/bridge`).find(isThere);
const ignore = !root() || !file(plugins ?? "/opt/cni/bin/bridge");

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function on(lab: LabHandle, ...argv: string[]) {
  const io = { stdin: "null", stdout: "piped", stderr: "piped" } as const;
  const { code, stdout, stderr } = await lab.command("node1", argv, io).output();
  return { code, out: text(stdout), err: text(stderr) };
}

function status(lab: LabHandle, ...args: string[]) {
  const { bpffs, dir } = lab.store.plan.nodes[0]!;
  return on(lab, ...pcnk, "status", "--bpffs", bpffs, "--state-dir", dir, ...args);
}

/** What is not well, as `part: text`, and the exit code. */
async function faults(lab: LabHandle): Promise<{ code: number; found: string[] }> {
  const { code, out } = await status(lab, "-o", "json");
  const { findings } = JSON.parse(out) as { findings: Finding[] };
  const bad = findings.filter(({ health }) => health === "bad" || health === "warn");
  for (const { part, next } of bad) assert.ok(next, `${part} tells no next step`);
  return { code, found: bad.map(({ part, text }) => `${part}: ${text}`) };
}

Deno.test({
  name: "pcnk status finds what is broken, says what to do, and works without an agent",
  ignore,
  sanitizeResources: false, // processes of a lab outlive the test's handles to them
  sanitizeOps: false,
  async fn() {
    const name = "tstatus";
    await downLab(name);
    const lab = await upLab({ name, nodes: 2, pods: 1, attach: "clsact", command: pcnk });
    try {
      const well = await status(lab);
      assert.equal(well.code, 0, well.out);
      assert.match(well.out, /^agent {10}ok {4}runs as process \d+, started \d+s ago\n/);
      assert.match(well.out, /\npeer .* node2 \(10\.244\.2\.0\/24\) by overlay .* replies in /);

      assert.match(well.out, /\nservices .* refused: default\/empty\n +→ pcnk describe service /);
      assert.match(well.out, /\napi +ok +not used: objects come from \//);
      assert.match(well.out, /\nmaps +ok +fullest: \w+ \d+\.\d %, /);

      await lab.stopAgent("node1", true);
      const dead = await faults(lab);
      assert.equal(dead.code, 1);
      assert.equal(dead.found.length, 1);
      assert.match(dead.found[0]!, /^agent: does not run/);

      const link = await on(lab, "ip", "-br", "link");
      const veth = /^(veth\w+)@/m.exec(link.out)![1]!;
      await on(lab, "tc", "filter", "del", "dev", veth, "ingress");
      await on(lab, "tc", "filter", "del", "dev", "eth0", "egress");
      await on(lab, "ip", "link", "set", "pcnk_vxlan", "down");
      using plane = openDataPlane(lab.store.plan.nodes[0]!.bpffs);
      const [key, entry] = plane.maps.services.entries().find(([{ port }]) => port > 0)!;
      plane.maps.services.set({ ...key, addr: "10.99.9.9", port: 80 }, {
        ...entry,
        id: 4_000_000_000,
      });
      const { found } = await faults(lab);
      const all = found.join("\n");
      assert.match(all, new RegExp(`^pods: 1 pod; not in place: lbrp_from_pod on ${veth}$`, "m"));
      assert.match(all, /^uplink: eth0: not in place: k8sd_to_uplink on eth0$/m);
      assert.match(all, /^services: 10\.99\.9\.9:80 is an entry of no Service$/m);
      assert.match(all, /^peer: node2 .* no reply/m);
    } finally {
      await downLab(name);
    }
  },
});
