import { equal, fail } from "node:assert/strict";
import type { RtEvent } from "../../linux/rtnl_monitor.ts";
import { Devices } from "./devices.ts";

Deno.test("Devices reports a burst of changes once, no route but the default one, and checks all after lost events", async () => {
  const stateDir = Deno.makeTempDirSync({ prefix: "pcnk-t-devices-" });
  let reports = 0;
  let reported = () => {};
  const devices = new Devices(
    {
      bridge: "pcnk0",
      stateDir,
      attach: "auto",
      nl: { link: () => undefined, links: () => [] },
      dataPlane: { bpffs: stateDir, maps: { endpoints: { entries: () => [] } } },
      log: { error: () => {}, info: () => {} },
      changed: () => {
        reports++;
        reported();
      },
    } as unknown as ConstructorParameters<typeof Devices>[0],
  );
  const link = { type: "link", link: { name: "veth1" } } as RtEvent;
  const route = (destination: string) => ({ type: "route", route: { destination } }) as RtEvent;
  const { setTimeout } = globalThis;
  try {
    globalThis.setTimeout = (() => fail("no report is due")) as unknown as typeof setTimeout;
    devices.handle([route("10.0.0.0/8"), { type: "parameters", parameters: { ifindex: 1 } }]);
    globalThis.setTimeout = setTimeout;
    await new Promise<void>((done) => {
      reported = done;
      devices.handle([link, link, route("0.0.0.0/0")]);
      equal(reports, 0, "the burst may go on");
    });
    equal(reports, 1);
    devices.handle([{ type: "lost" }]);
    equal(reports, 2, "at once");
  } finally {
    globalThis.setTimeout = setTimeout;
    devices.stop();
    Deno.removeSync(stateDir, { recursive: true });
  }
});
