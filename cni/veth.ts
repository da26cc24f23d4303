/** Finds the host end of a pod's veth pair from the pod's end, so that names in prevResult need not be trusted. */
import { closeFd, openFile, SyscallError } from "../src/linux/libc.ts";
import { NetlinkSocket } from "../src/linux/netlink.ts";
import { Message } from "../src/linux/netlink_message.ts";
import { type Link, RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Container } from "./env.ts";
import { CniError, CODE, show } from "./errors.ts";

/** include/uapi/linux/net_namespace.h */
const RTM_GETNSID = 90;
const NETNSA_NSID = 1;
const NETNSA_FD = 3;

/** Both ends of a pod's veth pair. */
export interface PodVeth {
  /** In the node's namespace. */
  host: Link;
  /** MAC address of the pod's end. */
  mac: string;
}

/**
 * @param nl a connection in the node's namespace, which must be the caller's
 * @throws {CniError} code 4 when there is no such namespace, or it is the node's own; code 102 when the interface is
 *   missing, or is no veth with its other end in the node's namespace
 */
export function findVeth(nl: RtNetlink, { netns = "", ifname }: Container): PodVeth {
  checkNetns(netns);
  const inside = podLink(netns, ifname);
  if (!inside) throw noVeth(`there is no interface ${ifname} in ${netns}`);
  const host = inside.peerIndex === undefined ? undefined : nl.link(inside.peerIndex);
  // Every namespace has small indexes: that both ends name each other is not enough, the host's end must also lead to
  // this namespace.
  const paired = inside.kind === "veth" && host?.kind === "veth" && host.peerIndex === inside.index;
  if (!paired || host.peerNetnsId === undefined || host.peerNetnsId !== netnsId(netns)) {
    throw noVeth(`${ifname} in ${netns} is not a veth whose other end is on this node`);
  }
  return { host, mac: inside.mac };
}

function podLink(netns: string, ifname: string): Link | undefined {
  try {
    using inside = RtNetlink.open(netns);
    return inside.link(ifname);
  } catch (error) {
    if (error instanceof SyscallError) throw badNetns(netns, error.message);
    throw error;
  }
}

/** Checks the path before it is opened: opening a pipe may block for ever, opening a device may have an effect. */
function checkNetns(netns: string): void {
  let found: Deno.FileInfo;
  try {
    found = Deno.statSync(netns);
  } catch (error) {
    throw badNetns(netns, (error as Error).message);
  }
  if (!found.isFile) throw badNetns(netns, "it is not a network namespace");
  const own = Deno.statSync("/proc/thread-self/ns/net");
  if (own.dev === found.dev && own.ino === found.ino) {
    throw badNetns(netns, "it is the node's own network namespace");
  }
}

/**
 * The number of the namespace at `path` within the present one (RTM_GETNSID); undefined when it has none. The kernel gives
 * one to each namespace that a link leads to (`Link.peerNetnsId`).
 * @throws {SyscallError} e.g. ENOENT
 */
function netnsId(path: string): number | undefined {
  const fd = openFile(path);
  try {
    using socket = NetlinkSocket.open();
    const message = new Message().u32(0).attrU32(NETNSA_FD, fd); // struct rtgenmsg, padded
    const [answer] = socket.request("RTM_GETNSID", RTM_GETNSID, 0, message);
    const id = answer?.body.attrs(4).get(NETNSA_NSID)?.u32(0);
    return id === undefined || id > 0x7fffffff ? undefined : id; // -1: none
  } finally {
    closeFd(fd);
  }
}

function badNetns(netns: string, reason: string): CniError {
  return new CniError(CODE.INVALID_ENVIRONMENT, `CNI_NETNS is ${show(netns)}`, reason);
}

function noVeth(message: string): CniError {
  return new CniError(
    CODE.NO_VETH,
    message,
    "put pcnk behind a plugin that makes a veth pair, such as bridge or ptp",
  );
}
