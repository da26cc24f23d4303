/**
 * One rtnetlink(7) subscription to what happens in a network namespace: links, qdiscs and tc filters, IPv4 addresses, IPv4
 * routes and IPv4 device parameters (RTM_NEWNETCONF), as typed events.
 */
import { SyscallError } from "./libc.ts";
import { NetlinkSocket, type Received } from "./netlink.ts";
import type { Reader } from "./netlink_message.ts";
import { Poller } from "./poll.ts";
import { type Address, parseAddress, RTM_DELADDR, RTM_NEWADDR } from "./rtnl_addr.ts";
import { type Link, parseLink, RTM_DELLINK, RTM_NEWLINK } from "./rtnl_link.ts";
import { parseRoute, type Route, RTM_DELROUTE, RTM_NEWROUTE } from "./rtnl_route.ts";

/**
 * RTMGRP_LINK, RTMGRP_TC, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE, and RTNLGRP_IPV4_NETCONF, which has no
 * legacy name.
 */
const GROUPS = 0x1 | 0x8 | 0x10 | 0x40 | 0x80 | 0x800000;
const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;

const AF_BRIDGE = 7;
const RTM_NEWNETCONF = 80;
const NETCONFA = { IFINDEX: 1, FORWARDING: 2, RP_FILTER: 3 } as const;
/** NETCONFA_IFINDEX_ALL */
const ALL_DEVICES = 0xffffffff;

/**
 * Bytes that the kernel keeps for a reader that is busy: routes to 5,000 nodes make 4 MB of events. Allocated only as
 * they are needed.
 */
const BUFFER = 8 << 20;

/** What happened. `lost`: the kernel dropped events (ENOBUFS), so who keeps state must read it again. */
export type RtEvent =
  | { readonly type: "link" | "link-gone"; readonly link: Link }
  /** A bridge reports one of its ports, or its VLANs. */
  | { readonly type: "port"; readonly ifindex: number }
  | { readonly type: "address" | "address-gone"; readonly address: Address }
  | { readonly type: "route" | "route-gone"; readonly route: Route }
  | { readonly type: "parameters"; readonly parameters: DeviceParameters }
  /** A rule of policy routing came or went. */
  | { readonly type: "rule" }
  /** A tc filter or a qdisc came, was changed, or went. */
  | { readonly type: "filter"; readonly ifindex: number }
  | { readonly type: "lost" };

/** net.ipv4.conf of a device, as far as the message has it. */
export interface DeviceParameters {
  ifindex: number | "all";
  forwarding?: boolean;
  /** 0: off, 1: strict, 2: loose. */
  rpFilter?: number;
}

interface MonitorOptions {
  /** Path of a network namespace; left out: the present one. */
  netnsPath?: string;
  /** Bytes. */
  buffer?: number;
}

/** Subscribes on construction, and delivers from `run()` or `read()` on. */
export class RtMonitor {
  readonly #socket: NetlinkSocket;
  readonly #poller: Poller;
  readonly #listener: (events: readonly RtEvent[]) => void;
  #running: Promise<void> = Promise.resolve();
  #closed = false;

  /** @param listener called with all events that were pending, oldest first; never with none */
  constructor(listener: (events: readonly RtEvent[]) => void, options: MonitorOptions = {}) {
    const { netnsPath, buffer = BUFFER } = options;
    this.#socket = NetlinkSocket.open(netnsPath, { groups: GROUPS, buffer });
    this.#poller = new Poller(this.#socket.fd);
    this.#listener = listener;
  }

  /** Delivers events until `close()`. @throws what reading or the listener throws */
  run(): Promise<void> {
    return this.#running = this.#deliver();
  }

  /** Delivers the events that are pending now. */
  read(): void {
    const events = this.#receive();
    if (events.length > 0) this.#listener(events);
  }

  async #deliver(): Promise<void> {
    while (!this.#closed) {
      this.read();
      await this.#poller.readable();
    }
  }

  #receive(): RtEvent[] {
    const events: RtEvent[] = [];
    while (!this.#closed) {
      try {
        const messages = this.#socket.receive("rtnetlink monitor");
        if (messages.length === 0) break;
        for (const message of messages) {
          const event = parseEvent(message);
          if (event) events.push(event);
        }
      } catch (error) {
        if (!(error instanceof SyscallError && error.code === "ENOBUFS")) throw error;
        events.push({ type: "lost" });
      }
    }
    return events;
  }

  /** Ends `run()`; resolves when the socket is closed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#poller.close();
    await this.#running.catch(() => {}); // `run()` has reported it
    this.#socket.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function parseEvent({ type, body }: Received): RtEvent | undefined {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      // Bridges report their ports to the same group.
      if (body.u8(0) === AF_BRIDGE) return { type: "port", ifindex: body.u32(4) };
      if (body.u8(0) !== 0) return undefined;
      return { type: type === RTM_NEWLINK ? "link" : "link-gone", link: parseLink(body) };
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const address = parseAddress(body);
      return address && { type: type === RTM_NEWADDR ? "address" : "address-gone", address };
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      const route = parseRoute(body);
      return route && { type: type === RTM_NEWROUTE ? "route" : "route-gone", route };
    }
    case RTM_NEWRULE:
    case RTM_DELRULE:
      return { type: "rule" };
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
    case RTM_NEWTFILTER:
    case RTM_DELTFILTER:
      return { type: "filter", ifindex: body.u32(4) };
    case RTM_NEWNETCONF:
      return { type: "parameters", parameters: parseParameters(body) };
    default:
      return undefined;
  }
}

function parseParameters(body: Reader): DeviceParameters {
  const attrs = body.attrs(4);
  const ifindex = attrs.get(NETCONFA.IFINDEX)?.u32(0) ?? 0;
  const forwarding = attrs.get(NETCONFA.FORWARDING)?.u32(0);
  return {
    ifindex: ifindex === ALL_DEVICES ? "all" : ifindex,
    forwarding: forwarding === undefined ? undefined : forwarding !== 0,
    rpFilter: attrs.get(NETCONFA.RP_FILTER)?.u32(0),
  };
}
