import assert from "node:assert/strict";
import { readState } from "../../node/state_files.ts";
import type { Log } from "../log.ts";
import { UplinkReport } from "./uplink_report.ts";
import type { NodeDevices } from "./uplinks.ts";

/** eth0, an uplink in a VRF. */
function vrfDevices(unserved?: boolean): NodeDevices {
  const link = { index: 2, name: "eth0", mac: "", mtu: 1500, type: 1 };
  const up = { up: true, running: true, loopback: false };
  const why = "has a default route, in VRF blue: …";
  const choice = { link: { ...link, ...up }, uplink: true, why };
  return {
    uplinks: [{ ifindex: 2, name: "eth0", mtu: 1500, addresses: [] }],
    choices: [unserved === undefined ? choice : { ...choice, unserved }],
    ...{ missing: [], addresses: [], bridge: { index: 0, mtu: 0 } },
  };
}

/** libc stays open. */
const options = { sanitizeResources: false };

Deno.test(
  "a device that is no longer served has its Event, also where its reason was known before",
  options,
  () => {
    const stateDir = Deno.makeTempDirSync();
    try {
      const events: string[] = [];
      const warn = ({ event, device }: Record<string, string>) => {
        events.push(`${event} ${device}`);
      };
      const report = new UplinkReport(stateDir, { info() {}, warn } as unknown as Log);
      report.update(vrfDevices());
      assert.deepEqual(events, []);
      // The Node object, with the InternalIP, came after the devices.
      for (let i = 0; i < 2; i++) report.update(vrfDevices(true));
      assert.deepEqual(events, ["UplinkNotServed eth0"]);
      assert.equal(readState(stateDir, "uplinks")?.devices[0]?.unserved, true);
    } finally {
      Deno.removeSync(stateDir, { recursive: true });
    }
  },
);
