/**
 * Which rtnetlink events say that another program disturbed what was applied: a network manager that removes routes or
 * changes the device, an uplink that goes down and takes its routes along (flannel #1070, #1759: the routes stayed away),
 * systemd that sets reverse path filtering again. Nothing is compared here: a sync follows, and finds nothing to do after a
 * false alarm.
 */
import type { Link } from "../../linux/rtnetlink.ts";
import type { DeviceParameters, RtEvent } from "../../linux/rtnl_monitor.ts";
import type { RoutingPlan } from "../../routing/types.ts";

const TABLE_MAIN = 254;

/** Reasons to give at a time, at most: an uplink that goes down may take thousands of routes along. */
const MOST_REASONS = 10;

/** What was applied. */
interface Applied {
  plan: RoutingPlan;
  /** Name of the overlay device. */
  device: string;
  /** Indexes of the uplinks. */
  uplinks: readonly number[];
  /** Index of the overlay device; undefined: there is none. */
  overlay?: number;
}

export class Disturbances {
  #applied: Applied | undefined;
  #destinations = new Set<string>();
  #skipping = false;

  /** Judges by this from now on. Before the first call nothing disturbs. */
  update(applied: Applied): void {
    this.#applied = applied;
    this.#destinations = new Set(applied.plan.routes.map(({ destination }) => destination));
  }

  /** Ignores the events that `read` delivers: for a caller that compares with the kernel afterwards. */
  skip(read: () => void): void {
    this.#skipping = true;
    try {
      read();
    } finally {
      this.#skipping = false;
    }
  }

  /** What was disturbed, each reason once; empty: nothing. */
  judge(events: readonly RtEvent[]): string[] {
    const reasons = new Set<string>();
    if (this.#applied === undefined || this.#skipping) return [];
    for (const event of events) {
      const reason = this.#reason(event, this.#applied);
      if (reason !== undefined) reasons.add(reason);
      if (reasons.size === MOST_REASONS) break;
    }
    return [...reasons];
  }

  #reason(event: RtEvent, applied: Applied): string | undefined {
    switch (event.type) {
      case "lost":
        return "events were lost";
      case "link":
        return linkReason(event.link, applied);
      case "link-gone":
        return concernsLink(event.link, applied) ? `device ${event.link.name} went` : undefined;
      case "address":
      case "address-gone": {
        const { ifindex, address } = event.address;
        const what = event.type === "address" ? "appeared" : "went";
        return concerns(ifindex, applied) ? `address ${address} ${what}` : undefined;
      }
      case "route-gone": {
        // Also a route of another program: it may have replaced ours.
        const { table, destination } = event.route;
        const ours = table === TABLE_MAIN && this.#destinations.has(destination);
        return ours ? `route ${destination} went` : undefined;
      }
      case "parameters":
        return parametersReason(event.parameters, applied);
      case "route":
      case "filter":
      case "port":
      case "rule":
        return undefined;
    }
  }
}

function linkReason(link: Link, applied: Applied): string | undefined {
  if (!concernsLink(link, applied)) return undefined;
  const { plan: { device: wanted }, device, overlay } = applied;
  const right = link.name === device && wanted !== undefined && link.index === overlay &&
    link.up && link.mac === wanted.mac && link.mtu === wanted.mtu && link.master === undefined;
  return right ? undefined : `device ${link.name} changed`;
}

function parametersReason(
  { ifindex, rpFilter, forwarding }: DeviceParameters,
  applied: Applied,
): string | undefined {
  if (ifindex !== "all" && !concerns(ifindex, applied)) return undefined;
  // 0 (off) and 2 (loose) are as good as each other.
  if (rpFilter === 1) return "reverse path filtering became strict";
  return forwarding === false ? "forwarding was turned off" : undefined;
}

function concernsLink({ name, index }: Link, applied: Applied): boolean {
  return name === applied.device || concerns(index, applied);
}

function concerns(ifindex: number, { overlay, uplinks }: Applied): boolean {
  return ifindex === overlay || uplinks.includes(ifindex);
}
