/** What the kernel holds of routing, in plain values: src/agent/routing reads it, diff.ts compares it. */
import type { HeldRoute } from "./steps.ts";
import type { Remote } from "./types.ts";

/** A device as the kernel holds it. */
export interface HeldDevice {
  ifindex: number;
  name: string;
  kind?: string;
  mac: string;
  mtu: number;
  up: boolean;
  /** Index of the bridge whose port it is. */
  master?: number | undefined;
  /** Of a VXLAN device: metadata mode. */
  external?: boolean;
  /** Of a VXLAN device: its UDP port. */
  port?: number;
  learning?: boolean;
  checksumOffload?: boolean;
  addresses: { address: string; prefixLength: number }[];
}

/** A neighbour of the overlay device as the kernel holds it. */
export interface HeldNeighbour {
  address: string;
  mac?: string;
  /** NUD_* */
  state?: number;
}

/** What the kernel holds, as far as routing looks at it. */
export interface KernelRouting {
  /** Whatever has the overlay device's name. */
  overlay?: HeldDevice;
  /** Overlay devices of this node under former names. */
  leftovers: { ifindex: number; name: string }[];
  /** All routes of the main table. */
  routes: HeldRoute[];
  /** Of the overlay device. */
  neighbours: HeldNeighbour[];
  /** Broadcast addresses in the local table. */
  broadcasts: { address: string; ifindex: number }[];
  /** By name; those the plan names, and rp_filter of `conf/all` and `conf/default`. */
  sysctls: Map<string, string>;
  /** By prefix; undefined: the data plane has no such map, none is to be written. */
  remotes?: Map<string, Remote>;
}
