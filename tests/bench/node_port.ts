/** NodePorts from outside, externalTrafficPolicy Cluster, with the backend on the node that is asked and on the other. */
import { readFileSync } from "node:fs";
import {
  atLeast,
  atMost,
  compare,
  microseconds,
  onTwoNodes,
  perSecond,
  ratios,
  rounds,
  type Row,
  type Side,
} from "./across.ts";
import { measure as load } from "./load.ts";
import type { Measure } from "./measure.ts";

const FROM = { from: "outside" } as const;
const PCNK = { ...FROM, label: "pcnk", by: "pcnk" } as const;
const KUBE_PROXY = { ...FROM, label: "kube-proxy", by: "kube-proxy" } as const;

const NFT = { ...FROM, label: "kube-proxy's nft form", by: "nft" } as const;

const SIDES = {
  local: { ...PCNK, to: "nodeport-local" },
  localKubeProxy: { ...KUBE_PROXY, to: "nodeport-local" },
  remote: { ...PCNK, to: "nodeport-remote" },
  remoteKubeProxy: { ...KUBE_PROXY, to: "nodeport-remote" },
  localNft: { ...NFT, to: "nodeport-local" },
  remoteNft: { ...NFT, to: "nodeport-remote" },
} satisfies Record<string, Side>;

const FULL: Side = { ...FROM, label: "pcnk, table full", by: "pcnk-full", to: "nodeport-local" };
const FULL_SIDES = { full: FULL, localKubeProxy: SIDES.localKubeProxy };

const RR: Row<keyof typeof SIDES>[] = [
  {
    id: "nodeport-rr-local",
    title: "NodePort from outside, request/response p50: pcnk ÷ kube-proxy, backend local",
    pair: ["local", "localKubeProxy"],
    bar: atMost(0.85),
  },
  {
    id: "nodeport-rr-remote",
    title: "the same, backend remote",
    pair: ["remote", "remoteKubeProxy"],
    bar: atMost(0.85),
  },
  { id: "nodeport-rr-local-nft", title: "the same ÷ nft form, local", pair: ["local", "localNft"] },
  {
    id: "nodeport-rr-remote-nft",
    title: "the same ÷ nft form, remote",
    pair: ["remote", "remoteNft"],
  },
];

const CRR: Row<keyof typeof SIDES>[] = [
  {
    id: "nodeport-connections-local",
    title: "NodePort from outside, new connections: pcnk ÷ kube-proxy, backend local",
    pair: ["local", "localKubeProxy"],
    bar: atLeast(1.3),
  },
  {
    id: "nodeport-connections-remote",
    title: "the same, backend remote",
    pair: ["remote", "remoteKubeProxy"],
    bar: atLeast(1.3),
  },
  {
    id: "nodeport-connections-local-nft",
    title: "the same ÷ nft form, local",
    pair: ["local", "localNft"],
  },
  {
    id: "nodeport-connections-remote-nft",
    title: "the same ÷ nft form, remote",
    pair: ["remote", "remoteNft"],
  },
];

const FULL_CRR: Row<keyof typeof FULL_SIDES>[] = [
  {
    id: "nodeport-connections-full",
    title: "the same ÷ kube-proxy, local, pcnk's table full of ended sessions",
    pair: ["full", "localKubeProxy"],
  },
];

/** TCP: request/response and new connections. */
export const nodePort: Measure = {
  name: "nodeport",
  about: "NodePorts from outside, backend local and remote, against kube-proxy",
  run: (context) =>
    onTwoNodes(context, "overlay", SIDES, async (nodes) => {
      const times = await compare(context, nodes, SIDES, "rr", microseconds);
      const rates = await compare(context, nodes, SIDES, "crr", perSecond);
      // A table takes seconds to fill and to empty.
      const few = { ...context, runs: Math.ceil(context.runs / 4) };
      const full = await compare(few, nodes, FULL_SIDES, "crr", perSecond);
      const head = { measure: "nodeport", note: nodes.note };
      return [
        ...ratios({ ...head, unit: "µs" }, RR, SIDES, times),
        ...ratios({ ...head, unit: "1/s" }, CRR, SIDES, rates),
        ...ratios({ ...head, unit: "1/s" }, FULL_CRR, FULL_SIDES, full),
      ];
    }),
};

const UDP: Row<keyof typeof SIDES>[] = [
  {
    id: "nodeport-udp-local",
    title: "NodePort, small UDP, packets a second on one core: pcnk ÷ kube-proxy, backend local",
    pair: ["local", "localKubeProxy"],
  },
  { id: "nodeport-udp-local-nft", title: "the same ÷ nft form", pair: ["local", "localNft"] },
  {
    id: "nodeport-udp-remote",
    title: "the same ÷ kube-proxy, backend remote",
    pair: ["remote", "remoteKubeProxy"],
  },
  { id: "nodeport-udp-remote-nft", title: "the same ÷ nft form", pair: ["remote", "remoteNft"] },
];

/** Bytes of payload: the smallest Ethernet frame. */
const SMALL = 18;

/** UDP as fast as one core sends, carries and takes it. */
export const nodePortUdp: Measure = {
  name: "nodeport-udp",
  about: "packets a second of small UDP to a NodePort, against kube-proxy and its nft form",
  run: (context) =>
    onTwoNodes(context, "overlay", SIDES, async (nodes) => {
      const { pid } = await nodes.serve("sink");
      const { sliceMs: ms, signal } = context;
      const values = await rounds(context, nodes, SIDES, async ({ from, to }) => {
        const before = delivered(pid);
        const options = { ms, bytes: SMALL, signal };
        const { seconds } = await load("flood", nodes.place(from), nodes.target(to), options);
        return (delivered(pid) - before) / seconds;
      });
      return ratios(
        { measure: "nodeport-udp", unit: "1/s", note: nodes.note },
        UDP,
        SIDES,
        values,
      );
    }),
};

/** Packets that have come to the sockets of a process's network namespace: InDelivers of /proc/net/snmp (RFC 1213). */
function delivered(pid: number): number {
  const [names, values] = readFileSync(`/proc/${pid}/net/snmp`, "utf8").split("\n")
    .filter((line) => line.startsWith("Ip:")).map((line) => line.split(" "));
  return Number(values![names!.indexOf("InDelivers")]);
}
