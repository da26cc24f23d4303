/**
 * Tells when someone disturbs what was applied: a network manager that removes routes or changes the device, an uplink
 * that goes down and takes its routes along (flannel #1070, #1759: nobody looked, and the routes stayed away), or systemd
 * that sets reverse path filtering again. It compares nothing itself: whoever is told reconciles, and finds nothing to do
 * when it was a false alarm.
 */
import { SyscallError } from "../../linux/libc.ts";
import { NetlinkSocket, type Received } from "../../linux/netlink.ts";
import { Poller } from "../../linux/poll.ts";
import { parseAddress, RTM_DELADDR, RTM_NEWADDR } from "../../linux/rtnl_addr.ts";
import { parseLink, RTM_DELLINK, RTM_NEWLINK } from "../../linux/rtnl_link.ts";
import { parseRoute, RTM_DELROUTE } from "../../linux/rtnl_route.ts";
import type { RoutingPlan } from "../../routing/types.ts";

/** Legacy multicast groups: links, IPv4 addresses, IPv4 routes, IPv4 device parameters. */
const GROUPS = 0x1 | 0x10 | 0x40 | 0x800000;

const RTM_NEWNETCONF = 80;
const NETCONFA = { IFINDEX: 1, FORWARDING: 2, RP_FILTER: 3 } as const;
/** NETCONFA_IFINDEX_ALL */
const ALL_DEVICES = 0xffffffff;

const TABLE_MAIN = 254;

/**
 * Bytes that wait for the agent while it works: it hears of its own routes too, and of those to 5,000 nodes there are 4 MB.
 * Taken only when they are needed.
 */
const BUFFER = 8 << 20;

/** What is told at a time, at most: an uplink that goes down may take thousands of routes along. */
const MOST_REASONS = 10;

/** What the watch goes by; replaced as a whole when a plan was applied. */
export interface Watched {
  plan: RoutingPlan;
  /** Name of the overlay device. */
  device: string;
  /** Indexes of the uplinks. */
  uplinks: readonly number[];
}

/** A running watch. */
export class RoutingWatch {
  readonly #socket: NetlinkSocket;
  readonly #poller: Poller;
  readonly #running: Promise<void>;
  #closed = false;
  #watched: Watched | undefined;
  #destinations = new Set<string>();
  #overlay: number | undefined;
  readonly #disturbed: (why: string[]) => void;

  /**
   * @param disturbed called with what happened, once for all that is read at a time
   * @param failed called once, when watching has become impossible
   */
  private constructor(
    disturbed: (why: string[]) => void,
    failed: (error: unknown) => void,
    netnsPath?: string,
  ) {
    this.#disturbed = disturbed;
    this.#socket = NetlinkSocket.open(netnsPath, { groups: GROUPS, buffer: BUFFER });
    this.#poller = new Poller(this.#socket.fd);
    this.#running = this.#run().catch((error) => {
      if (!this.#closed) failed(error);
    });
  }

  /** Starts to watch, in the present network namespace or in the one at `netnsPath`. */
  static open(
    disturbed: (why: string[]) => void,
    failed: (error: unknown) => void,
    netnsPath?: string,
  ): RoutingWatch {
    return new RoutingWatch(disturbed, failed, netnsPath);
  }

  /** From now on goes by this; `overlay` is the overlay device's index. Before, nothing disturbs. */
  update(watched: Watched, overlay: number | undefined): void {
    this.#watched = watched;
    this.#overlay = overlay;
    this.#destinations = new Set(watched.plan.routes.map(({ destination }) => destination));
  }

  /**
   * Forgets what the kernel has told so far. For somebody who reads its state anew, and so knows; what happens from now on is
   * told.
   */
  forget(): void {
    for (const _ of this.#pending(() => {}));
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const why = this.#receive();
      if (why.length > 0 && !this.#closed) this.#disturbed(why);
      await this.#poller.readable();
    }
  }

  /** Reads all there is; each disturbance once, and of very many the first ones. */
  #receive(): string[] {
    const seen = new Set<string>();
    const add = (why: string | undefined) => {
      if (why !== undefined && seen.size < MOST_REASONS) seen.add(why);
    };
    for (const message of this.#pending(() => add("events were lost"))) add(this.#judge(message));
    return [...seen];
  }

  /** What has been told and not been read yet. @param lost called when there was more than the socket could keep */
  *#pending(lost: () => void): Generator<Received> {
    while (!this.#closed) {
      try {
        const messages = this.#socket.receive("rtnetlink watch");
        if (messages.length === 0) return;
        yield* messages;
      } catch (error) {
        if (!(error instanceof SyscallError && error.code === "ENOBUFS")) throw error;
        lost();
      }
    }
  }

  #judge({ type, body }: Received): string | undefined {
    if (this.#watched === undefined) return undefined;
    switch (type) {
      case RTM_NEWLINK:
      case RTM_DELLINK:
        return body.u8(0) === 0 ? this.#judgeLink(parseLink(body), type) : undefined;
      case RTM_NEWADDR:
      case RTM_DELADDR: {
        const found = parseAddress(body);
        if (found === undefined || !this.#concerns(found.ifindex)) return undefined;
        return `address ${found.address} ${type === RTM_NEWADDR ? "appeared" : "went"}`;
      }
      case RTM_DELROUTE: {
        // Also one of others: it may have stood in the place of ours.
        const route = parseRoute(body);
        if (route?.table !== TABLE_MAIN || !this.#destinations.has(route.destination)) return;
        return `route ${route.destination} went`;
      }
      case RTM_NEWNETCONF:
        return this.#judgeParameters(body.attrs(4));
      default:
        return undefined;
    }
  }

  #judgeLink(link: ReturnType<typeof parseLink>, type: number): string | undefined {
    const { plan: { device: wanted }, device } = this.#watched!;
    if (link.name !== device && !this.#concerns(link.index)) return undefined;
    if (type === RTM_DELLINK) return `device ${link.name} went`;
    if (link.name !== device) return `device ${link.name} changed`;
    const right = wanted !== undefined && link.index === this.#overlay && link.up &&
      link.mac === wanted.mac && link.mtu === wanted.mtu;
    return right ? undefined : `device ${link.name} changed`;
  }

  #judgeParameters(attrs: Map<number, { u32(at: number): number }>): string | undefined {
    const ifindex = attrs.get(NETCONFA.IFINDEX)?.u32(0);
    if (ifindex !== ALL_DEVICES && !this.#concerns(ifindex)) return undefined;
    // 0 (off) and 2 (loose) are as good as each other.
    if (attrs.get(NETCONFA.RP_FILTER)?.u32(0) === 1) return "reverse path filtering became strict";
    return attrs.get(NETCONFA.FORWARDING)?.u32(0) === 0 ? "forwarding was turned off" : undefined;
  }

  #concerns(ifindex: number | undefined): boolean {
    return ifindex !== undefined &&
      (ifindex === this.#overlay || this.#watched!.uplinks.includes(ifindex));
  }

  /** Ends the watch; resolves when nothing of it runs any more. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#poller.close();
    await this.#running;
    this.#socket.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
