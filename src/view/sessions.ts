/** `sessions` and `snat`: flows that the kernel translates. */
import { allSessions } from "../bpf/sessions.ts";
import {
  type NodeConfig,
  type Session,
  SESSION_FLAG,
  SESSION_STATE,
  type SessionKey,
} from "../bpf/layout.ts";
import { monotonicNow } from "../linux/clock.ts";
import { isOver } from "../services/session_timeouts.ts";
import { parsePortName, type PortName, protocolName } from "./names.ts";
import type { NodeReader } from "./node.ts";
import { type Filter, type Resource, type Row, sortBy } from "./resource.ts";

/** A flow as its client opened it. Addresses and ports as `10.0.0.1:80`. */
export interface SessionRow extends Row, Partial<Pick<PortName, "namespace" | "service">> {
  protocol: string;
  client: string;
  /** What the client sends to. */
  to: string;
  /** Where it arrives. */
  backend: string;
  /** What it arrives as, when that is not the client's own address. */
  as?: string;
  kind: "service" | "masquerade";
  state: "new" | "established" | "closing" | "closed";
  /** Seconds since the last packet, of either direction. */
  idleSeconds: number;
  /** Seconds since the first packet; undefined: pcnk 0.1.0 made the session and kept no time. */
  ageSeconds?: number;
  /** It has timed out; the next packet starts a new one. */
  expired: boolean;
  /** `namespace/name` of the client, when it is a pod of this node. */
  pod?: string;
  /** A pod that is its own backend. */
  hairpin: boolean;
}

const STATES = Object.keys(SESSION_STATE).map((name) =>
  name.toLowerCase()
) as SessionRow["state"][];

/** The forward half of every session: what clients see. */
export function readSessions(node: NodeReader, filter: Filter): SessionRow[] {
  const now = monotonicNow();
  const config = node.maps.config.get(0);
  const rows: SessionRow[] = [];
  for (const [key, session] of allSessions(node.maps)) {
    if (session.flags & SESSION_FLAG.REPLY) continue;
    const row = rowOf(node, key, session, now, config);
    if ((filter.all || !row.expired) && isWanted(filter, row, key, session)) rows.push(row);
  }
  return sortBy(rows, (row) => row.protocol, (row) => row.client, (row) => row.to);
}

function rowOf(
  node: NodeReader,
  key: SessionKey,
  session: Session,
  now: bigint,
  config: NodeConfig | undefined,
): SessionRow {
  const masquerade = (session.flags & SESSION_FLAG.MASQUERADE) !== 0;
  const names = masquerade ? undefined : parsePortName(node.portName(session.service_id));
  const idle = now > session.last_seen ? now - session.last_seen : 0n;
  // Of ICMP the port of the source is the echo's identifier, and there is no other.
  const at = (addr: string, port: number) => key.proto === 1 ? addr : `${addr}:${port}`;
  const client = `${key.src}:${key.sport}`;
  const as = `${session.src}:${session.sport}`;
  const pod = node.pods.get(key.src)?.pod;
  const to = at(key.dst, key.dport);
  return {
    name: `${protocolName(key.proto).toLowerCase()}/${client}-${to}`,
    namespace: names?.namespace,
    service: names?.service,
    protocol: protocolName(key.proto),
    client,
    to,
    backend: at(session.dst, session.dport),
    as: as === client ? undefined : as,
    kind: masquerade ? "masquerade" : "service",
    state: key.proto === 6 ? STATES[session.state] ?? "new" : "established",
    idleSeconds: Number(idle) / 1e9,
    ageSeconds: session.created ? Number(now - session.created) / 1e9 : undefined,
    expired: config !== undefined && isOver(config, key.proto, session.state, idle),
    pod: pod || undefined,
    hairpin: (session.flags & SESSION_FLAG.HAIRPIN) !== 0,
  };
}

function isWanted(filter: Filter, row: SessionRow, key: SessionKey, session: Session): boolean {
  const { namespace, service, pod } = row;
  if (filter.namespace !== undefined && filter.namespace !== namespace) return false;
  if (filter.service !== undefined && filter.service !== `${namespace}/${service}`) return false;
  if (filter.pod !== undefined && ![pod, key.src, session.dst].includes(filter.pod)) return false;
  return filter.names.length === 0 || filter.names.includes(row.name);
}

/** `12s`, `5m`, `3h`, `2d`: as kubectl shows ages. */
export function formatAge(seconds: number): string {
  if (seconds < 120) return `${Math.floor(seconds)}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

const serviceOf = ({ namespace, service, kind }: SessionRow) =>
  kind === "masquerade" ? "" : namespace ? `${namespace}/${service}` : service ?? "";

/** `pcnk get sessions` */
export const sessions: Resource<SessionRow> = {
  name: "sessions",
  aliases: ["session"],
  help: "flows to Services, and masqueraded flows of pods",
  read: readSessions,
  columns: [
    { title: "PROTO", value: (row) => row.protocol },
    { title: "CLIENT", value: (row) => row.client },
    { title: "TO", value: (row) => row.to },
    { title: "BACKEND", value: ({ kind, backend }) => kind === "masquerade" ? "" : backend },
    { title: "AS", value: (row) => row.as ?? "" },
    { title: "STATE", value: ({ expired, state }) => expired ? "expired" : state },
    { title: "IDLE", value: ({ idleSeconds }) => formatAge(idleSeconds) },
    {
      title: "AGE",
      value: ({ ageSeconds }) => ageSeconds === undefined ? "" : formatAge(ageSeconds),
    },
    { title: "SERVICE", wide: true, value: serviceOf },
    { title: "POD", wide: true, value: ({ pod }) => pod ?? "" },
    { title: "KIND", wide: true, value: ({ kind, hairpin }) => hairpin ? "hairpin" : kind },
  ],
};

/** A source port of this node that a flow has been given. */
export interface SnatRow extends Row {
  protocol: string;
  /** The node's address and port in its place. */
  source: string;
  client: string;
  to: string;
  /** Why: a pod that leaves the cluster, or a client from outside whose backend is on another node. */
  why: "masquerade" | "node-port";
  idleSeconds: number;
}

/** Sessions whose source became an address of this node. */
function readSnat(node: NodeReader, filter: Filter): SnatRow[] {
  const rows = readSessions(node, filter).filter(({ as, hairpin }) => as !== undefined && !hairpin)
    .map(({ protocol, client, as = "", kind, to, backend, idleSeconds }): SnatRow => ({
      name: `${protocol.toLowerCase()}/${as}`,
      protocol,
      source: as,
      client,
      to: kind === "masquerade" ? to : backend,
      why: kind === "masquerade" ? "masquerade" : "node-port",
      idleSeconds,
    }));
  return sortBy(rows, (row) => row.protocol, (row) => row.source, (row) => row.to);
}

/** `pcnk get snat` */
export const snat: Resource<SnatRow> = {
  name: "snat",
  aliases: [],
  help: "source ports of this node that masqueraded flows use",
  read: readSnat,
  columns: [
    { title: "PROTO", value: (row) => row.protocol },
    { title: "SOURCE", value: (row) => row.source },
    { title: "FOR", value: (row) => row.client },
    { title: "TO", value: (row) => row.to },
    { title: "WHY", value: (row) => row.why },
    { title: "IDLE", value: ({ idleSeconds }) => formatAge(idleSeconds) },
  ],
};
