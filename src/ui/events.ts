/** Packets as they happen, as Server-Sent Events (HTML, 9.2): `pcnk monitor` for a page. */
import {
  isBad,
  listen,
  lockMonitor,
  type MonitorFilter,
  type Observation,
  packetReasons,
} from "../view/monitor.ts";
import { type NodePlace, NodeReader } from "../view/node.ts";
import { formatEnd } from "../view/packet.ts";
import { BadQuery } from "./list.ts";
import type { PacketEvent, PacketEvents } from "./types.ts";

/** Milliseconds between messages, and packets in one: a browser draws no more. */
const EVERY_MS = 250;
const MOST = 50;

/** Which packets, of a query. @throws {BadQuery} */
export function eventFilter(params: URLSearchParams): MonitorFilter {
  const wanted = params.get("reason");
  const named = packetReasons.filter(({ name }) => name === wanted);
  if (wanted !== null && named.length === 0) throw new BadQuery("reason must be one of counters'");
  const service = params.get("service");
  if (service !== null && !/^[^/]{1,63}\/[^/]{1,63}$/.test(service)) {
    throw new BadQuery("service must be namespace/name");
  }
  const oneIn = params.get("oneIn") ?? "1";
  if (!/^[1-9]\d{0,8}$/.test(oneIn)) throw new BadQuery("oneIn must be from 1 to 999999999");
  return {
    reasons: wanted !== null
      ? named
      : params.get("flows") === "1"
      ? packetReasons
      : packetReasons.filter(isBad),
    oneIn: Number(oneIn),
    perSecond: MOST * 1000 / EVERY_MS,
    service: service ?? undefined,
  };
}

/** The stream of one page; it ends when that goes away. @throws {BusyError} when this node has a listener already */
export function eventStream(
  place: NodePlace,
  filter: MonitorFilter,
  signal: AbortSignal,
): ReadableStream<Uint8Array> {
  const lock = lockMonitor(place.stateDir);
  const end = new AbortController();
  const until = AbortSignal.any([signal, end.signal]);
  const encoder = new TextEncoder();
  let pending: PacketEvents = { events: [], more: 0 };
  return new ReadableStream({
    async start(stream) {
      const say = (text: string) => {
        if (!until.aborted && (stream.desiredSize ?? 1) > -100) {
          stream.enqueue(encoder.encode(text));
        }
      };
      const timer = setInterval(() => {
        if (pending.events.length === 0 && pending.more === 0) return say(": still here\n\n");
        say(`data: ${JSON.stringify(pending)}\n\n`);
        pending = { events: [], more: 0 };
      }, EVERY_MS);
      say("event: listening\ndata: {}\n\n");
      void follow().catch((error) => {
        say(`event: problem\ndata: ${JSON.stringify({ error: (error as Error).message })}\n\n`);
      }).finally(() => {
        clearInterval(timer);
        lock[Symbol.dispose]();
        if (!end.signal.aborted) stream.close();
      });
      await Promise.resolve();
    },
    cancel: () => end.abort(),
  });

  async function follow() {
    using node = new NodeReader(place);
    await listen(node, filter, {
      seen(observations) {
        for (const observation of observations) {
          if (pending.events.length < MOST) pending.events.push(eventOf(observation));
          else pending.more++;
        }
      },
      lost: (packets) => void (pending.more += packets),
    }, until);
  }
}

function eventOf(
  { time, reason, device, bytes, flow, service, from, to }: Observation,
): PacketEvent {
  const ends = flow &&
    `${flow.protocol} ${formatEnd(flow, flow.src, flow.sport)} → ${
      formatEnd(flow, flow.dst, flow.dport)
    }`;
  return {
    time: new Date(time).toISOString(),
    reason: reason.name,
    kind: reason.kind,
    device,
    bytes,
    flow: ends ?? `${bytes} bytes`,
    service: service || undefined,
    from: from || undefined,
    to: to || undefined,
  };
}
