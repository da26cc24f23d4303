import { deepEqual, equal } from "node:assert/strict";
import type { RtEvent } from "../../linux/rtnl_monitor.ts";
import type { RoutingPlan } from "../../routing/types.ts";
import { Disturbances } from "./disturbances.ts";

const gone = (i: number): RtEvent => ({
  type: "route-gone",
  route: { destination: `10.244.${i}.0/24`, table: 254 },
});

Deno.test("Disturbances names nothing before a plan is applied, then lost events and the first ten reasons", () => {
  const disturbances = new Disturbances();
  deepEqual(disturbances.judge([{ type: "lost" }]), []);
  const routes = Array.from({ length: 20 }, (_, i) => ({ destination: `10.244.${i}.0/24` }));
  const plan = { routes } as RoutingPlan;
  disturbances.update({ plan, device: "pcnk_vxlan", uplinks: [2] });
  deepEqual(disturbances.judge([{ type: "lost" }, gone(1), gone(1), gone(77)]), [
    "events were lost",
    "route 10.244.1.0/24 went",
  ]);
  equal(disturbances.judge(routes.map((_, i) => gone(i))).length, 10);
  disturbances.skip(() => deepEqual(disturbances.judge([{ type: "lost" }]), []));
});
