/**
 * Pods of two nodes: a service against the pod itself, over the overlay and direct routes; the overlay against the kernel's
 * VXLAN as flannel sets it up; a service against kube-proxy over that.
 */
import {
  atLeast,
  atMost,
  compare,
  microseconds,
  onTwoNodes,
  perSecond,
  ratios,
  type Row,
  type Side,
} from "./across.ts";
import type { Measure } from "./measure.ts";

const FROM = { from: "pod" } as const;
const SERVICE: Side = { ...FROM, label: "pcnk service", by: "pcnk", to: "service" };
const POD: Side = { ...FROM, label: "pcnk, pod to pod", by: "pcnk", to: "pod" };

const OVERLAY = {
  service: SERVICE,
  pod: POD,
  vxlan: { ...FROM, label: "plain VXLAN", by: "vxlan", to: "pod" },
  bare: { ...FROM, label: "plain VXLAN without netfilter", by: "vxlan-bare", to: "pod" },
  kubeProxy: { ...FROM, label: "kube-proxy", by: "kube-proxy", to: "service" },
  nft: { ...FROM, label: "kube-proxy's nft form", by: "nft", to: "service" },
} satisfies Record<string, Side>;

const OVERLAY_RR: Row<keyof typeof OVERLAY>[] = [
  {
    id: "overlay-rr-service",
    title: "two nodes, overlay, request/response p50: service ÷ pod to pod",
    pair: ["service", "pod"],
    bar: atMost(1.02),
  },
  {
    id: "overlay-rr-vxlan",
    title: "the same, pod to pod: pcnk ÷ plain kernel VXLAN",
    pair: ["pod", "vxlan"],
    bar: atMost(1),
  },
  {
    id: "overlay-rr-bare",
    title: "the same ÷ plain kernel VXLAN, bridge netfilter off",
    pair: ["pod", "bare"],
  },
  {
    id: "overlay-rr-kube-proxy",
    title: "the same, service: pcnk ÷ kube-proxy on plain VXLAN",
    pair: ["service", "kubeProxy"],
    bar: atMost(0.9),
  },
  { id: "overlay-rr-nft", title: "the same ÷ nft form", pair: ["service", "nft"] },
];

const OVERLAY_CRR: Row<"service" | "kubeProxy" | "nft">[] = [
  {
    id: "overlay-connections-kube-proxy",
    title: "two nodes, overlay, new connections: service ÷ kube-proxy",
    pair: ["service", "kubeProxy"],
    bar: atLeast(1.2),
  },
  { id: "overlay-connections-nft", title: "the same ÷ nft form", pair: ["service", "nft"] },
];

/** Over the overlay. */
export const overlay: Measure = {
  name: "overlay",
  about:
    "pods of two nodes over the overlay: service, pod, against plain VXLAN and kube-proxy on it",
  run: (context) =>
    onTwoNodes(context, "overlay", OVERLAY, async (nodes) => {
      const { service, kubeProxy, nft } = OVERLAY;
      const times = await compare(context, nodes, OVERLAY, "rr", microseconds);
      const sides = { service, kubeProxy, nft };
      const rates = await compare(context, nodes, sides, "crr", perSecond);
      const head = { measure: "overlay", note: nodes.note };
      return [
        ...ratios({ ...head, unit: "µs" }, OVERLAY_RR, OVERLAY, times),
        ...ratios({ ...head, unit: "1/s" }, OVERLAY_CRR, sides, rates),
      ];
    }),
};

const DIRECT = { service: SERVICE, pod: POD };

/** Over direct routes. */
export const direct: Measure = {
  name: "direct",
  about: "pods of two nodes over direct routes: service against pod",
  run: (context) =>
    onTwoNodes(context, "direct", DIRECT, async (nodes) => {
      const times = await compare(context, nodes, DIRECT, "rr", microseconds);
      return ratios(
        { measure: "direct", unit: "µs" },
        [{
          id: "direct-rr-service",
          title: "two nodes, direct routes, request/response p50: service ÷ pod to pod",
          pair: ["service", "pod"],
          bar: atMost(1.02),
        }],
        DIRECT,
        times,
      );
    }),
};
