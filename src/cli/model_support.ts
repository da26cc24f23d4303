/** A node's state as values, for tests of what commands print: nothing of a machine or of the time is in it. */
import type { CounterRow, MapRow } from "../view/counters.ts";
import type { Description } from "../view/describe.ts";
import type { HostPortRow } from "../view/host_ports.ts";
import type { EndpointRow, NodeRow, RouteRow } from "../view/network.ts";
import type { Row } from "../view/resource.ts";
import type { BackendRow, ServiceRow } from "../view/services.ts";
import type { SessionRow, SnatRow } from "../view/sessions.ts";
import type { Finding } from "../view/finding.ts";
import type { Topology } from "../view/topology_rows.ts";
import type { Trace } from "../view/trace.ts";

const web = { name: "default/web", namespace: "default", service: "web" };

const services: ServiceRow[] = [
  {
    ...web,
    port: 80,
    protocol: "TCP",
    address: "10.96.0.10",
    frontendPort: 80,
    from: "inside",
    backends: 2,
    affinitySeconds: 0,
    algorithm: "random",
    localOnly: false,
    sourceRanges: [],
    id: 7,
  },
  {
    ...web,
    port: 80,
    protocol: "TCP",
    address: "*",
    frontendPort: 30080,
    from: "outside",
    backends: 0,
    affinitySeconds: 10800,
    algorithm: "maglev",
    localOnly: true,
    sourceRanges: ["192.0.2.0/24", "198.51.100.0/24"],
    id: 7,
  },
];

const backends: BackendRow[] = [
  {
    ...web,
    port: 80,
    protocol: "TCP",
    address: "10.244.1.2",
    backendPort: 8080,
    weight: 1,
    terminating: false,
    pod: "default/web-1",
    node: "this node",
    from: "anywhere",
  },
  {
    ...web,
    port: 80,
    protocol: "TCP",
    address: "10.244.2.2",
    backendPort: 8080,
    weight: 3,
    terminating: true,
    from: "inside",
  },
];

const sessions: SessionRow[] = [
  {
    name: "tcp/10.244.1.3:41000-10.96.0.10:80",
    namespace: "default",
    service: "web",
    protocol: "TCP",
    client: "10.244.1.3:41000",
    to: "10.96.0.10:80",
    backend: "10.244.1.2:8080",
    kind: "service",
    state: "established",
    idleSeconds: 3.5,
    expired: false,
    pod: "default/curl",
    hairpin: false,
  },
  {
    name: "udp/10.244.1.3:5353-198.51.100.53:53",
    protocol: "UDP",
    client: "10.244.1.3:5353",
    to: "198.51.100.53:53",
    backend: "198.51.100.53:53",
    as: "192.0.2.11:4711",
    kind: "masquerade",
    state: "established",
    idleSeconds: 600,
    expired: true,
    hairpin: false,
  },
];

const endpoints: EndpointRow[] = [{
  name: "10.244.1.2",
  address: "10.244.1.2",
  pod: "default/web-1",
  device: "veth67b546a7",
  mac: "02:00:00:00:00:02",
  gateway: "10.244.1.1",
  attached: "clsact",
}];

const hostports: HostPortRow[] = [{
  name: "0.0.0.0:8080/TCP",
  host: "0.0.0.0:8080",
  protocol: "TCP",
  pod: "default/web-1",
  target: "10.244.1.2:80",
  hiddenBy: "",
}];

const nodes: NodeRow[] = [
  {
    name: "node2",
    podCIDR: "10.244.2.0/24",
    mode: "overlay",
    via: "192.0.2.12",
    device: "pcnk_vxlan",
    mtu: 1450,
    vni: 42,
    mac: "02:70:c0:00:02:0c",
  },
  {
    name: "node3",
    podCIDR: "10.244.3.0/24",
    mode: "direct",
    via: "192.0.2.13",
    device: "eth0",
    mtu: 0,
    vni: 0,
    mac: "",
  },
];

const routes: RouteRow[] = [{
  name: "10.244.2.0/24",
  destination: "10.244.2.0/24",
  type: "unicast",
  gateway: "10.244.2.0",
  device: "pcnk_vxlan",
  source: "10.244.1.1",
  mtu: 1450,
  tunnel: "192.0.2.12",
}];

const snat: SnatRow[] = [{
  name: "udp/192.0.2.11:4711",
  protocol: "UDP",
  source: "192.0.2.11:4711",
  client: "10.244.1.3:5353",
  to: "198.51.100.53:53",
  why: "masquerade",
  idleSeconds: 600,
}];

const counters: CounterRow[] = [
  {
    name: "forward_delivered",
    kind: "handled",
    packets: 1234567,
    bytes: 987654321,
    meaning: "to a service, handed to a pod of this node",
  },
  { name: "event_session_created", kind: "event", packets: 42, bytes: 0, meaning: "a new flow" },
];

const maps: MapRow[] = [
  { name: "services", entries: 2, capacity: 65536, whenFull: "refuses" },
  { name: "sessions", entries: 131072, capacity: 262144, whenFull: "oldest goes" },
];

/** Rows by kind, one of each at least. */
export const rows: Readonly<Record<string, readonly Row[]>> = {
  services,
  backends,
  sessions,
  endpoints,
  hostports,
  nodes,
  routes,
  snat,
  counters,
  maps,
};

export const findings: Finding[] = [
  { part: "agent", health: "ok", text: "runs as process 1696, started 5m ago" },
  {
    part: "api",
    health: "warn",
    text:
      "https://192.0.2.1:6443: services, nodes not followed, last heard 3m ago: cannot be reached: connection refused",
    next:
      "curl -k https://192.0.2.1:6443/livez from this node; what was known stays in effect meanwhile",
  },
  { part: "data plane", health: "ok", text: "installed at /sys/fs/bpf/pcnk" },
  {
    part: "pods",
    health: "bad",
    text: "2 pods; not in place: lbrp_from_pod on veth67b546a7",
    next: "the agent puts them back within half a minute; if it does not, see its log",
  },
  { part: "uplink", health: "ok", text: "eth0, address 192.0.2.11, MTU 1500" },
  { part: "uplink", health: "ok", text: "eth1, address 198.51.100.11, MTU 9000" },
  {
    part: "services",
    health: "note",
    text: "11 Services; no backend, so clients are refused: default/web",
    next: "pcnk describe service default/web",
  },
  { part: "drops", health: "ok", text: "none since the start" },
];

export const description: Description = {
  service: {
    kind: "Service",
    namespace: "default",
    name: "web",
    type: "NodePort",
    clusterIPs: ["10.96.0.10"],
    headless: false,
    selector: "app=wbe",
    ports: [],
    publishNotReadyAddresses: false,
    internalTrafficPolicy: "Cluster",
    affinitySeconds: 0,
  },
  endpoints: [
    { address: "10.244.1.2", node: "node1", pod: "default/web-1", state: "ready" },
    { address: "10.244.2.2", state: "terminating" },
  ],
  frontends: [
    {
      frontend: "10.96.0.10:80/TCP",
      from: "inside",
      wanted: ["10.244.1.2:8080", "10.244.2.2:8080"],
      held: ["10.244.1.2:8080"],
    },
    { frontend: "*:30080/TCP", from: "outside", wanted: [], held: [] },
    { frontend: "10.99.9.9:80/TCP", from: "inside", wanted: null, held: ["10.244.1.2:8080"] },
  ],
  issues: [],
  findings: [{
    good: false,
    text:
      "2 of 3 entries of the maps are not in sync with the cluster: check that the agent runs (pcnk status), and see its log; a change takes some milliseconds",
  }],
};

export const topology: Topology = {
  pods: [
    {
      pod: "default/web-1",
      address: "10.244.1.2",
      name: "veth67b546a7",
      programs: ["lbrp_from_pod"],
    },
    { pod: "", address: "10.244.1.3", name: "veth0f417368", programs: [] },
  ],
  bridges: [{ name: "pcnk0", programs: ["lbrp_to_pod"] }],
  tunnels: [{
    name: "pcnk_vxlan",
    programs: ["k8sd_from_overlay"],
    nodes: ["node2 10.244.2.0/24"],
  }],
  uplinks: [{
    name: "eth0",
    address: "192.0.2.11",
    programs: ["k8sd_from_uplink", "k8sd_to_uplink"],
    nodes: ["node3 10.244.3.0/24"],
  }],
  hostHooks: 8,
};

export const traced: Trace = {
  flow: { protocol: "TCP", src: "10.244.1.3", dst: "198.51.100.10", sport: 40000, dport: 8080 },
  hops: [
    {
      at: "lbrp_from_pod on veth0f417368",
      reasons: ["world_sent"],
      text: "pod to the world by an uplink, past the stack",
    },
    { at: "routes", reasons: [], text: "to 198.51.100.10 via 192.0.2.1 by eth0" },
    {
      at: "k8sd_to_uplink on eth0",
      reasons: ["masqueraded"],
      text: "pod to the world, with the node's address; 10.244.1.3:40000 became 192.0.2.11:4858",
    },
  ],
  outcome: "sent",
  text: "sent to 198.51.100.10:8080 by eth0, as 192.0.2.11:4858",
};
