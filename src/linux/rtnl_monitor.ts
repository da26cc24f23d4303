/** Tells what happens to devices, addresses and routes of a network namespace (rtnetlink(7), multicast groups). */
import { SyscallError } from "./libc.ts";
import { NetlinkSocket, type Received } from "./netlink.ts";
import { Poller } from "./poll.ts";
import { type Address, parseAddress, RTM_DELADDR, RTM_NEWADDR } from "./rtnl_addr.ts";
import { type Link, parseLink, RTM_DELLINK, RTM_NEWLINK } from "./rtnl_link.ts";
import { parseRoute, type Route, RTM_DELROUTE, RTM_NEWROUTE } from "./rtnl_route.ts";

const GROUPS = { link: 0x1, address: 0x10, route: 0x40 } as const;

/** What can be watched. Addresses and routes are those of IPv4. */
export type MonitorGroup = keyof typeof GROUPS;

/** Something that happened. After `lost` events are missing: whoever keeps state has to read it anew. */
export type MonitorEvent =
  | { readonly type: "link" | "link-gone"; readonly link: Link }
  | { readonly type: "address" | "address-gone"; readonly address: Address }
  | { readonly type: "route" | "route-gone"; readonly route: Route }
  | { readonly type: "lost" };

/** A running watch. It sees everything from `open` on; iterate it once, and close it. */
export class RtMonitor {
  readonly #socket: NetlinkSocket;
  readonly #poller: Poller;
  #closed = false;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
    this.#poller = new Poller(socket.fd);
  }

  /** Starts to watch, in the present network namespace or in the one at `netnsPath`. */
  static open(groups: readonly MonitorGroup[], netnsPath?: string): RtMonitor {
    const mask = groups.reduce((all, group) => all | GROUPS[group], 0);
    return new RtMonitor(NetlinkSocket.open(netnsPath, { groups: mask }));
  }

  /** The events, in order, until `close()`. */
  async *[Symbol.asyncIterator](): AsyncGenerator<MonitorEvent, void, void> {
    while (!this.#closed) {
      for (const event of this.#receive()) yield event;
      await this.#poller.readable();
    }
  }

  #receive(): MonitorEvent[] {
    const events: MonitorEvent[] = [];
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

  /** Ends the iteration and closes the socket. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#poller.close();
    this.#socket.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function parseEvent({ type, body }: Received): MonitorEvent | undefined {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      // A bridge tells of its ports in messages of family AF_BRIDGE, about which nobody asked.
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
    default:
      return undefined;
  }
}
