/** Processes of a node itself: a service against the pod behind it, which is on the other node. */
import { atMost, compare, microseconds, onTwoNodes, ratios, type Side } from "./across.ts";
import type { Measure } from "./measure.ts";

const SIDES = {
  service: { label: "host to service", by: "pcnk", from: "node", to: "service" },
  pod: { label: "host to pod", by: "pcnk", from: "node", to: "pod" },
} as const satisfies Record<string, Side>;

export const host: Measure = {
  name: "host",
  about: "a process of the node: service against pod",
  run: (context) =>
    onTwoNodes(context, "overlay", SIDES, async (nodes) => {
      const values = await compare(context, nodes, SIDES, "rr", microseconds);
      return ratios(
        { measure: "host", unit: "µs" },
        [{
          id: "host-rr",
          title: "a node's process, request/response p50: service ÷ pod",
          pair: ["service", "pod"],
          bar: atMost(1.01),
        }],
        SIDES,
        values,
      );
    }),
};
