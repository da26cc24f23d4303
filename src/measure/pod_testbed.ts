/** Real pods, on whatever carries their traffic: a client's pod of this node, a server's pod of this node or another. */
import { serverCommand } from "./loads.ts";
import { type Placement, serveAt } from "./placement.ts";
import type { Path, Testbed } from "./testbed.ts";
import type { Tool } from "./tools.ts";

/** A pod of this node. */
export interface LocalPod {
  /** `namespace/name`. */
  pod: string;
  address: string;
  netns: string;
}

interface PodTestbedOptions {
  from: LocalPod;
  /** A pod of this node, which gets the servers; or the address of one elsewhere that has them. */
  to: LocalPod | string;
  /** Address of a Service before it, with the same ports. */
  service?: string;
}

/** Where the servers listen in a pod; a Service before it needs all of these. */
export const POD_PORTS: Readonly<Record<Tool, number>> = {
  iperf3: 5201,
  sockperf: 11111,
  wrk: 8081,
  pcnk: 8081,
};

export function podTestbed({ from, to, service }: PodTestbedOptions): Testbed {
  const [toPod, toService]: Path[] = typeof to === "string"
    ? ["pod→pod, two nodes", "pod→service, two nodes"]
    : ["pod→pod, one node", "pod→service, one node"];
  const address = typeof to === "string" ? to : to.address;
  const server = typeof to === "string" ? undefined : where(to);
  return {
    contenders: ["pcnk"],
    paths: () => service === undefined ? [toPod!] : [toPod!, toService!],
    carry() {},
    client: () => where(from),
    server: () => server,
    port: (tool) => POD_PORTS[tool],
    target: (path, port) => ({ address: path === toService ? service! : address, port }),
    notes: [
      `from pod ${from.pod} to ${typeof to === "string" ? `pod ${to}` : `pod ${to.pod}`}${
        service === undefined ? "" : ` and service ${service}`
      }, as they are: other traffic on the node takes part`,
    ],
  };
}

/** What each tool's servers speak; sockperf needs one for each. */
const SERVERS: readonly [Tool, "tcp" | "udp"][] = [
  ["iperf3", "tcp"],
  ["sockperf", "tcp"],
  ["sockperf", "udp"],
  ["pcnk", "tcp"],
];

/** Runs the servers of all these tools in a pod; they end when this is disposed of. */
export async function servePod(pod: LocalPod, tools: readonly Tool[], signal: AbortSignal) {
  const servers = new AsyncDisposableStack();
  try {
    for (const [tool, protocol] of SERVERS.filter(([tool]) => tools.includes(tool))) {
      const port = POD_PORTS[tool];
      const command = serverCommand(tool, protocol, port);
      servers.use(await serveAt(where(pod), command, { port, protocol, signal }));
    }
    return servers;
  } catch (error) {
    await servers.disposeAsync();
    throw error;
  }
}

function where({ netns }: LocalPod): Placement {
  return { netnsPath: netns, cgroup: null };
}
