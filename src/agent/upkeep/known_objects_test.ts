import "../../../tests/support/libraries.ts";
import { deepEqual } from "node:assert/strict";
import { attachment } from "../../node/attachments_support.ts";
import type { Change } from "../../model/state.ts";
import { writeState } from "../../node/state_files.ts";
import { TempFolder } from "../../../tests/support/folder.ts";
import { KnownObjects } from "./known_objects.ts";

const node = (podCIDR: string): Change => ({
  type: "upsert",
  object: { kind: "Node", name: "n1", internalIPs: [], podCIDRs: [podCIDR] },
});

Deno.test("KnownObjects puts the gateway of a new podCIDR before those that pods still have", () => {
  using folder = new TempFolder();
  const configured = { bridge: "pcnk0", overlayDevice: "vx", cniConfDir: "/etc/cni/net.d" };
  const bridgeAddresses = ["10.1.0.1/24", "10.9.0.1/24"];
  writeState(folder.path, "objects", { ...configured, bridgeAddresses });
  const known = new KnownObjects(folder.path, configured);
  const pod = attachment({ bridge: "pcnk0" });
  known.changes([node("10.1.0.0/24")], "n1");
  known.plan([pod]);
  deepEqual(known.objects.bridgeAddresses, ["10.1.0.1/24"]);
  known.changes([node("10.2.0.0/24")], "n1");
  known.plan([pod]);
  deepEqual(known.objects.bridgeAddresses, ["10.2.0.1/24", "10.1.0.1/24"]);
  known.plan([]);
  deepEqual(known.objects.bridgeAddresses, ["10.2.0.1/24"]);
});

Deno.test("KnownObjects keeps the bridge's MAC address that pods know, whatever the bridge has by now", () => {
  using folder = new TempFolder();
  const known = new KnownObjects(folder.path, { bridge: "pcnk0", overlayDevice: "vx" });
  const learn = (mac: string, pods = [attachment()]) => {
    const nl = {
      link: () => ({ kind: "bridge", index: 3, mac }),
      addrs: () => [{ address: "10.1.0.1", prefixLength: 24 }],
    };
    known.learn(nl as unknown as Parameters<typeof known.learn>[0], pods);
    return known.objects.bridgeMac;
  };
  deepEqual(learn("02:00:00:00:00:01", []), undefined);
  deepEqual(learn("02:00:00:00:00:02"), "02:00:00:00:00:02");
  deepEqual(learn("02:00:00:00:00:99"), "02:00:00:00:00:02");
});
