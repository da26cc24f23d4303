/**
 * The node's own flows at a port that a Service is about to take: those that netfilter translates, of Docker's containers, to
 * whose ports no socket belongs. A program notes such a flow where it leaves (bpf/lib/node_flow.h), from when the Service has
 * the port; one that idles then is noted here.
 */
import { PROTO } from "../../abi/enums.ts";
import { zero } from "../../bpf/codec.ts";
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import { session, SESSION_FLAG, SESSION_STATE, SESSION_ZONE } from "../../bpf/layout.ts";
import { monotonicNow } from "../../linux/clock.ts";
import {
  trackedCount,
  type TrackedFlow,
  trackedFlows,
  type TrackedPort,
  type Tuple,
} from "../../linux/conntrack.ts";

/** The kernel walks through its whole table for each port, in about 10 ms where that is full. */
const MOST_PORTS = 8;
/** All flows are read where they are no more than that. */
const MOST_FLOWS = 20_000;

/** A port that a Service takes. */
interface TakenPort {
  readonly proto: number;
  readonly port: number;
}

/** Notes the flows that have one of these ports. Returns how many. @throws {SyscallError} */
export function noteTrackedFlows(
  maps: Pick<DataPlaneMaps, "sessions">,
  taken: readonly TakenPort[],
): number {
  const count = taken.length === 0 ? 0 : trackedCount();
  if (count === 0) return 0;
  const ports = new Map(taken.map((one) => [`${one.proto} ${one.port}`, one]));
  const asked = [...ports.values()].slice(0, MOST_PORTS)
    .flatMap(({ proto, port }): TrackedPort[] => [
      { direction: "reply", proto, port },
      ...(proto === PROTO.TCP ? [{ direction: "original", proto, port } as const] : []),
    ]);
  const all = ports.size > MOST_PORTS && count <= MOST_FLOWS;
  const flows = trackedFlows(all ? "all" : asked)
    .flatMap((flow) => inbound(flow, ({ proto, port }) => ports.has(`${proto} ${port}`)));
  for (const flow of flows) noteFlow(maps, flow);
  return flows.length;
}

/**
 * The packets of such a flow that come to the port: replies to a container, and those of a connection to one by a translated
 * port of the node. UDP to the node's port is the Service's from now on.
 */
function inbound(
  { proto, original, reply, established }: TrackedFlow,
  isTaken: (port: TakenPort) => boolean,
): (Tuple & { proto: number })[] {
  const found = [reply, ...(proto === PROTO.TCP ? [original] : [])]
    .find(({ dport }) => isTaken({ proto, port: dport }));
  return established && found ? [{ ...found, proto }] : [];
}

/** As exempt_create() of bpf/lib/masquerade_exempt.h. */
function noteFlow({ sessions }: Pick<DataPlaneMaps, "sessions">, flow: Tuple & { proto: number }) {
  const { src, dst, sport, dport, proto } = flow;
  const now = monotonicNow();
  const common = {
    ...zero(session),
    last_seen: now,
    created: now,
    state: SESSION_STATE.ESTABLISHED,
  };
  const back = { src, dst, sport, dport },
    forward = { src: dst, dst: src, sport: dport, dport: sport };
  const flags = SESSION_FLAG.MASQUERADE;
  sessions.addBatch([
    [{ ...forward, proto, zone: SESSION_ZONE.MASQUERADE }, { ...common, ...forward, flags }],
    [
      { ...back, proto, zone: SESSION_ZONE.SERVICE },
      { ...common, ...back, flags: flags | SESSION_FLAG.REPLY },
    ],
  ]);
}
