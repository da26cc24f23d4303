/** What the page gets, as JSON: the same types on both sides. Rates are per second; null: not known yet. */
import type { CounterRow } from "../view/counters.ts";
import type { BackendRow, ServiceRow } from "../view/services.ts";
import type { SessionRow } from "../view/sessions.ts";
import type { Finding } from "../view/finding.ts";
import type { Topology } from "../view/topology_rows.ts";

/** A part of a long list. */
export interface Part<R> {
  /** Rows that fit the filter. */
  total: number;
  /** Rows before it was applied. */
  all: number;
  /** The first one here. */
  offset: number;
  rows: R[];
}

/** A reason with how fast its counter goes. */
export type CounterRate = CounterRow & { perSecond: number | null };

export interface Counters {
  node: string;
  counters: CounterRate[];
}

/** Packets of a device, both ways, as the device counts them. */
export interface DeviceRate {
  /** Of a pod's device: what the pod sends. */
  received: number | null;
  sent: number | null;
  /** Packets that the device itself has dropped, both ways, since it is there. */
  dropped: number;
}

export interface TopologyNow {
  topology: Topology;
  devices: Record<string, DeviceRate>;
}

/** A Service. The kernel counts packets by what became of them, not by Service: its traffic is that of its sessions. */
export interface ServiceNow {
  /** `namespace/name` */
  name: string;
  /** `10.96.0.10:80/TCP`; the ClusterIP first. */
  frontends: string[];
  /** Addresses and ports that serve it, the largest number of its ports. */
  backends: number;
  /** It has a port without a backend; of a traffic policy Local, that only this node does not serve, is not one. */
  refuses: boolean;
  sessions: number;
  /** Sessions with a packet in the last five seconds. */
  active: number;
  /** Sessions that were not there a look earlier. */
  opened: number | null;
}

export type BackendNow = BackendRow & { sessions: number; active: number };

export interface ServiceDetail {
  name: string;
  frontends: ServiceRow[];
  backends: BackendNow[];
}

/** What the cluster says of a Service, in sentences; the first is the most important. */
export interface Why {
  findings: { good: boolean; text: string }[];
}

export type SessionNow = SessionRow;

export interface Status {
  findings: Finding[];
}

/** A packet, as an event. */
export interface PacketEvent {
  /** RFC 3339. */
  time: string;
  reason: string;
  kind: string;
  device: string;
  bytes: number;
  /** `TCP 10.244.1.2:40000 → 10.244.1.3:8080` */
  flow: string;
  service?: string;
  from?: string;
  to?: string;
}

/** What comes at once: events, and how many more there were. */
export interface PacketEvents {
  events: PacketEvent[];
  more: number;
}

/** What is said when it did not work. */
export interface Problem {
  error: string;
  next?: string;
}
