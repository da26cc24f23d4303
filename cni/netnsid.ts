/** The number that a network namespace has in another: RTM_GETNSID, include/uapi/linux/net_namespace.h. */
import { closeFd, openFile } from "../src/linux/libc.ts";
import { NetlinkSocket } from "../src/linux/netlink.ts";
import { Message } from "../src/linux/netlink_message.ts";

const RTM_GETNSID = 90;
const NETNSA_NSID = 1;
const NETNSA_FD = 3;

/**
 * The number that the present namespace has for the one at `path`; undefined when it has none. It has one for every namespace
 * that a link was seen to lead to (`Link.peerNetnsId`).
 * @throws {SyscallError} e.g. ENOENT
 */
export function netnsId(path: string): number | undefined {
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
