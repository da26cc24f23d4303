import "../../tests/support/libraries.ts";
import { deepEqual, match } from "node:assert/strict";
import { join } from "node:path";
import type { Link } from "../linux/rtnetlink.ts";
import { attachment } from "../node/attachments_support.ts";
import { TempFolder } from "../../tests/support/folder.ts";
import { leaseFaults, strayFaults } from "./addresses.ts";
import type { NodeState } from "./fault.ts";

const veth = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  ...{ index, name, mac: "", mtu: 1500, up: true, running: true, loopback: false, type: 1 },
  ...{ kind: "veth", peerNetnsId: index },
  ...more,
});

/** A node with the pod of `attachment()` (10.1.0.2, veth7), another without a record, and one of another bridge. */
function node(stateDir: string, inside: Record<number, string[]>): NodeState {
  const links = [
    { ...veth(3, "pcnk0"), kind: "bridge" },
    veth(7, "veth7", { master: 3 }),
    veth(8, "veth8"),
    veth(9, "veth9", { master: 4 }),
  ];
  const nl = {
    links: () => links,
    link: (key: string | number) => links.find(({ index, name }) => index === key || name === key),
    addrsIn: (id: number) => (inside[id] ?? []).map((address) => ({ address })),
  };
  return {
    stateDir,
    nl,
    links: nl.links,
    records: [attachment()],
    dataPlane: { maps: { endpoints: { entries: () => [] } } },
    objects: { bridge: "pcnk0", bridgeAddresses: [], overlayDevice: "", podCIDR: "10.1.0.0/24" },
  } as unknown as NodeState;
}

Deno.test("leaseFaults() reserves addresses in use in host-local's format, and frees them when they are not", () => {
  using folder = new TempFolder();
  const store = join(folder.path, "ipam/pcnk");
  const held = (name: string) => Deno.readTextFileSync(join(store, name));
  const inUse = node(folder.path, { 8: ["10.1.0.9", "192.168.9.9"], 9: ["10.1.0.10"] });
  const [fault] = leaseFaults(inUse);
  match(fault!.text, /has no reservation of addresses in use, 10\.1\.0\.9, 10\.1\.0\.2:/);
  fault!.mend!();
  deepEqual(held("10.1.0.2"), "c1\r\neth0");
  deepEqual(leaseFaults(inUse), []);
  Deno.writeTextFileSync(join(store, "10.1.0.3"), "c3\r\neth0");
  const [freed] = leaseFaults(node(folder.path, {}));
  freed!.mend!();
  deepEqual([...Deno.readDirSync(store)].map(({ name }) => name).sort(), [
    "10.1.0.2",
    "10.1.0.3",
    "lock",
  ]);
});

Deno.test("strayFaults() names pods without a record, but none that another bridge serves", () => {
  const strays = strayFaults(node("/nowhere", { 8: ["10.1.0.9"], 9: ["10.1.0.10"] }));
  deepEqual(strays.map(({ object, ofPod }) => [object, ofPod]), [["pod at 10.1.0.9", true]]);
  match(strays[0]!.text, /10\.1\.0\.9 \(device veth8\) is not attached any more/);
});
