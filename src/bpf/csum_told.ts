/**
 * Whether bpf_skb_change_tail() refuses to cut a packet above the end of a checksum that is left to a device: bpf/lib/partial.h
 * rests on it. No version says so: Linux 5.10.262 and 6.18.44 do, and 6.1.192 and 6.12.118 no longer, a fix of these branches
 * that others may get. So it is tried, on the loopback device of a network namespace that is gone afterwards.
 */
import { closeFd, syscall, trySyscall } from "../linux/libc.ts";
import { inNewNetns } from "../linux/netns.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { progLoad } from "./syscall.ts";

const SCHED_CLS = 3;
const AF_PACKET = 17, SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const SOL_PACKET = 263, PACKET_VNET_HDR = 15;
const LOOPBACK = 1;
const ENOBUFS = 105;

/** Bytes to cut the packet to: in the middle of the first of `ENDS`, at the second. */
const LENGTH = 41;
/** Where a checksum ends, from the frame's start: UDP's own, and one a byte before it. */
const ENDS = { above: 42, at: 41 };
const START = 34, FRAME = 64;

let told: boolean | undefined;

/** Tries it once for this process. False also where it cannot be tried: then nothing is dropped that is right. */
export function csumTold(): boolean {
  if (told === undefined) {
    try {
      told = inNewNetns(tryIt);
    } catch {
      told = false;
    }
  }
  return told;
}

/** Makes FFI calls only: see netns.ts. */
function tryIt(): boolean {
  const nl = RtNetlink.open();
  const open: number[] = [];
  try {
    nl.setLink(LOOPBACK, { up: true });
    nl.addClsact(LOOPBACK);
    const progFd = progLoad(SCHED_CLS, program(), "pcnk_csum");
    open.push(progFd);
    const hook = { ifindex: LOOPBACK, direction: "egress", priority: 1, handle: 1 } as const;
    nl.filterReplace({ ...hook, progFd, name: "pcnk_csum" });
    const socket = syscall("socket", AF_PACKET, SOCK_RAW_CLOEXEC, 0);
    open.push(socket);
    syscall("setsockopt", socket, SOL_PACKET, PACKET_VNET_HDR, new Uint8Array([1, 0, 0, 0]), 4);
    return send(socket, ENDS.above) > 0 && send(socket, ENDS.at) === -ENOBUFS;
  } finally {
    for (const fd of open) closeFd(fd);
    nl.close();
  }
}

/** Sends a packet whose checksum a device has to write. @returns its length, -ENOBUFS where the program drops it */
function send(socket: number, end: number): number {
  const packet = new Uint8Array(10 + FRAME); // behind struct virtio_net_hdr
  packet[0] = 1; // VIRTIO_NET_HDR_F_NEEDS_CSUM
  packet.set(new Uint8Array(new Uint16Array([START, end - 2 - START]).buffer), 6);
  packet.set([0x08, 0x00, 0x45], 10 + 12);
  const to = new Uint8Array(20); // struct sockaddr_ll
  to.set([AF_PACKET, 0, 0x08, 0x00, LOOPBACK]);
  return trySyscall("sendto", socket, packet, packet.length, 0, to, to.length);
}

/** Drops what it could cut, and lets pass what bpf_skb_change_tail() refuses with -EINVAL. */
function program(): Uint8Array<ArrayBuffer> {
  const EINVAL = 22, CHANGE_TAIL = 38, TC_ACT_OK = 0, TC_ACT_SHOT = 2;
  const code = new DataView(new ArrayBuffer(8 * 8));
  const instructions: [op: number, registers: number, offset: number, immediate: number][] = [
    [0xb7, 2, 0, LENGTH], // r2 = LENGTH
    [0xb7, 3, 0, 0], // r3 = 0
    [0x85, 0, 0, CHANGE_TAIL], // r0 = bpf_skb_change_tail(r1, r2, r3)
    [0xbf, 0x01, 0, 0], // r1 = r0
    [0xb7, 0, 0, TC_ACT_OK], // r0 = TC_ACT_OK
    [0x15, 1, 1, -EINVAL], // if r1 == -EINVAL skip one
    [0xb7, 0, 0, TC_ACT_SHOT], // r0 = TC_ACT_SHOT
    [0x95, 0, 0, 0], // exit
  ];
  for (const [i, [op, registers, offset, immediate]] of instructions.entries()) {
    code.setUint8(8 * i, op);
    code.setUint8(8 * i + 1, registers);
    code.setInt16(8 * i + 2, offset, true);
    code.setInt32(8 * i + 4, immediate, true);
  }
  return new Uint8Array(code.buffer);
}
