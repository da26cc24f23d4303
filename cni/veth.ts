/** Finding the host end of a pod's veth pair, from the pod's end: names in prevResult need not be believed. */
import { SyscallError } from "../src/linux/libc.ts";
import { type Link, RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Container } from "./env.ts";
import { CniError, CODE } from "./errors.ts";

/** Both ends of a pod's veth pair. */
export interface PodVeth {
  /** In the node's namespace. */
  host: Link;
  /** MAC address of the pod's end. */
  mac: string;
}

/**
 * @param nl a connection in the node's namespace
 * @throws {CniError} code 3 when the pod's namespace or interface is gone; code 7 when it is no veth with its other
 *   end in this namespace
 */
export function findVeth(nl: RtNetlink, { netns, ifname }: Container): PodVeth {
  const inside = podLink(netns!, ifname);
  if (!inside) {
    throw new CniError(CODE.UNKNOWN_CONTAINER, `there is no interface ${ifname} in ${netns}`);
  }
  const host = inside.peerIndex === undefined ? undefined : nl.link(inside.peerIndex);
  // Another namespace may have a device of that index: the pair must point at each other.
  if (inside.kind !== "veth" || host?.kind !== "veth" || host.peerIndex !== inside.index) {
    throw new CniError(
      CODE.INVALID_CONFIG,
      `${ifname} in ${netns} is not a veth whose other end is on this node`,
      "put pcnk behind a plugin that makes a veth pair, such as bridge or ptp",
    );
  }
  return { host, mac: inside.mac };
}

function podLink(netns: string, ifname: string): Link | undefined {
  try {
    using inside = RtNetlink.open(netns);
    return inside.link(ifname);
  } catch (error) {
    if (error instanceof SyscallError && (error.code === "ENOENT" || error.code === "EINVAL")) {
      throw new CniError(CODE.UNKNOWN_CONTAINER, `${netns} is not a network namespace`);
    }
    throw error;
  }
}
