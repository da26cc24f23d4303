import "../../tests/support/libraries.ts";
import { deepEqual, equal, match } from "node:assert/strict";
import { PROTO } from "../abi/enums.ts";
import { attachment } from "../node/attachments_support.ts";
import { readAttachments } from "../node/attachments.ts";
import { TempFolder } from "../../tests/support/folder.ts";
import { strayFaults } from "./addresses.ts";
import type { NodeState } from "./fault.ts";
import { recordFaults } from "./records.ts";

const mac = "02:00:00:00:00:01", gateway = "10.1.0.1";

/** A node with a pod that works and has no record. @param master of its device; the bridge has index 3 */
function node(stateDir: string, master: number | undefined, agent = true): NodeState {
  const veth = { index: 7, name: "veth7", kind: "veth", peerNetnsId: 1, master };
  const links = [{ index: 3, name: "pcnk0", kind: "bridge" }, veth];
  const port = { addr: "0.0.0.0", port: 8080, proto: PROTO.UDP };
  return {
    stateDir,
    links: () => links,
    nl: { addrsIn: () => [{ address: "10.1.0.2" }], link: () => veth },
    records: [],
    objects: { bridge: "pcnk0", bridgeAddresses: [], overlayDevice: "", podCIDR: "10.1.0.0/24" },
    dataPlane: {
      maps: {
        endpoints: { entries: () => [[{ addr: "10.1.0.2" }, { ifindex: 7, mac, gateway }]] },
        host_ports: { entries: () => [[port, { addr: "10.1.0.2", port: 53 }]] },
      },
    },
    agent: agent ? { formerRecords: [] } : undefined,
  } as unknown as NodeState;
}

Deno.test("recordFaults() makes a record again of what maps and host-local's store have", () => {
  using folder = new TempFolder();
  const store = `${folder.path}/ipam/pcnk`;
  Deno.mkdirSync(store, { recursive: true });
  Deno.writeTextFileSync(`${store}/10.1.0.2`, "c1\r\neth0");
  const [fault] = recordFaults(node(folder.path, 3));
  fault!.mend!();
  const mapping = { hostIP: "0.0.0.0", hostPort: 8080, containerPort: 53, protocol: "udp" };
  deepEqual(readAttachments(folder.path), [
    attachment({ netns: "", bridge: "pcnk0", portMappings: [mapping] as never }),
  ]);
});

Deno.test("a pod that works without a record is never named as one to delete", () => {
  for (const agent of [true, false]) {
    const works = node("/nowhere", 3, agent);
    deepEqual(strayFaults(works), []);
    const [fault] = recordFaults(works);
    match(
      fault!.text,
      /10\.1\.0\.2 \(device veth7\) in \/nowhere is gone or damaged; the pod works/,
    );
    equal(fault!.mend, undefined, "host-local does not know its container");
    equal(/delete/.test(fault!.next), false);
  }
  const [stray] = strayFaults(node("/nowhere", undefined));
  match(stray!.text, /10\.1\.0\.2 \(device veth7\) is not attached any more/);
});
