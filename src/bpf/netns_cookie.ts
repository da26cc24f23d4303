/**
 * The cookie of a network namespace on kernels before 5.14, which have no socket option for it: a program on a cgroup's
 * sock_create hook reads it from a socket that is made in the namespace (bpf_get_netns_cookie(), Linux 5.7).
 */
import { closeFd, openFile, syscall } from "../linux/libc.ts";
import { withNetns } from "../linux/netns.ts";
import { u32, u64 } from "./codec.ts";
import { BpfMap } from "./map.ts";
import { linkCreate, MAP_TYPE, mapCreate, progLoad } from "./syscall.ts";

const BPF_PROG_TYPE_CGROUP_SOCK = 9;
const BPF_CGROUP_INET_SOCK_CREATE = 2;
const AF_INET = 2;
const SOCK_RAW = 3;
/** For experiments (RFC 3692): marks the socket as ours among those that others make meanwhile. */
const PROTOCOL = 253;

/** `map[0] = bpf_get_netns_cookie(ctx)` for a socket of PROTOCOL; every socket is allowed. */
function program(mapFd: number): Uint8Array<ArrayBuffer> {
  const code: [opcode: number, registers: number, offset: number, immediate: number][] = [
    [0x61, 0x12, 12, 0], //         r2 = ctx->protocol
    [0x55, 0x02, 11, PROTOCOL], //  if r2 != PROTOCOL goto end
    [0x85, 0, 0, 122], //           r0 = bpf_get_netns_cookie(r1)
    [0x7b, 0x0a, -16, 0], //        *(u64 *)(r10 - 16) = r0
    [0x62, 0x0a, -4, 0], //         *(u32 *)(r10 - 4) = 0
    [0x18, 0x11, 0, mapFd], //      r1 = map
    [0, 0, 0, 0],
    [0xbf, 0xa2, 0, 0], //          r2 = r10
    [0x07, 0x02, 0, -4], //         r2 += -4
    [0xbf, 0xa3, 0, 0], //          r3 = r10
    [0x07, 0x03, 0, -16], //        r3 += -16
    [0xb7, 0x04, 0, 0], //          r4 = 0
    [0x85, 0, 0, 2], //             bpf_map_update_elem(r1, r2, r3, r4)
    [0xb7, 0x00, 0, 1], //     end: r0 = 1
    [0x95, 0, 0, 0], //             exit
  ];
  const view = new DataView(new ArrayBuffer(8 * code.length));
  code.forEach(([opcode, registers, offset, immediate], i) => {
    view.setUint8(8 * i, opcode);
    view.setUint8(8 * i + 1, registers);
    view.setInt16(8 * i + 2, offset, true);
    view.setInt32(8 * i + 4, immediate, true);
  });
  return new Uint8Array(view.buffer);
}

/**
 * The cookie of the network namespace at `path`, or of the present one.
 * @param cgroup directory of a cgroup (v2) that the caller's process is in, or one above it
 * @returns undefined when the process is outside the cgroup
 * @throws {SyscallError} EPERM when another tool's program on the cgroup tolerates no others
 */
export function netnsCookieByProgram(cgroup: string, path?: string): bigint | undefined {
  const fd = mapCreate({ type: MAP_TYPE.ARRAY, keySize: 4, valueSize: 8, maxEntries: 1 });
  using map = BpfMap.fromFd(fd, u32, u64, "cookie");
  const open = [openFile(cgroup)];
  try {
    open.push(progLoad(BPF_PROG_TYPE_CGROUP_SOCK, program(fd), "pcnk_cookie"));
    open.push(linkCreate(open[1]!, open[0]!, BPF_CGROUP_INET_SOCK_CREATE));
    const makeSocket = () => closeFd(syscall("socket", AF_INET, SOCK_RAW, PROTOCOL));
    if (path === undefined) makeSocket();
    else withNetns(path, makeSocket);
  } finally {
    open.reverse().forEach(closeFd);
  }
  return map.get(0) || undefined;
}
