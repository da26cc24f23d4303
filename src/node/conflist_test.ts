import assert from "node:assert/strict";
import { conflist as made, type ConflistOptions } from "./conflist.ts";

/** As it is on disk. */
const conflist = (options: ConflistOptions) => JSON.parse(JSON.stringify(made(options)));

Deno.test("conflist() chains bridge and pcnk, with host-local inside bridge", () => {
  const list = conflist({ podCIDR: "10.244.1.0/24" });
  assert.deepEqual(list, {
    cniVersion: "1.0.0",
    name: "pcnk",
    plugins: [
      {
        type: "bridge",
        bridge: "pcnk0",
        isDefaultGateway: true,
        ipam: { type: "host-local", ranges: [[{ subnet: "10.244.1.0/24" }]] },
      },
      { type: "pcnk", capabilities: { portMappings: true } },
    ],
  });
});

Deno.test("conflist() hands each plugin its own options", () => {
  const list = conflist({
    podCIDR: "10.0.0.0/24",
    bpffs: "/x/bpf",
    stateDir: "/x",
    logLevel: "debug",
    ipamDataDir: "/x/ipam",
    mtu: 1450,
    cniVersion: "1.1.0",
  });
  assert.equal(list.cniVersion, "1.1.0");
  assert.equal(list.plugins[0].mtu, 1450);
  assert.equal(list.plugins[0].ipam.dataDir, "/x/ipam");
  assert.deepEqual(list.plugins[1], {
    type: "pcnk",
    bpffs: "/x/bpf",
    stateDir: "/x",
    logLevel: "debug",
    capabilities: { portMappings: true },
  });
});

Deno.test("conflist() gives hostPorts to one plugin: pcnk, or portmap where it is wanted", () => {
  const { plugins } = conflist({ podCIDR: "10.0.0.0/24", portmap: true });
  assert.deepEqual(plugins.slice(1), [
    { type: "portmap", capabilities: { portMappings: true }, snat: true },
    { type: "pcnk" },
  ]);
});

Deno.test("conflist() without pcnk is the base line", () => {
  const list = conflist({ podCIDR: "10.0.0.0/24", withoutPcnk: true });
  assert.deepEqual(list.plugins.map(({ type }: { type: string }) => type), ["bridge"]);
});
