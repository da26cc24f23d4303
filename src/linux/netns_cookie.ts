/** The kernel's cookie of a network namespace, by which eBPF programs distinguish namespaces. */
import { address, rawSyscall, SYS, SyscallError } from "./libc.ts";
import { NetlinkSocket } from "./netlink.ts";

const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;
const ENOPROTOOPT = 92;

/** The kernel has no cookies (before 5.14), and the namespace is not the initial one. */
export class NetnsCookieError extends Error {
  override readonly name = "NetnsCookieError";
}

/**
 * The cookie of the network namespace at `path`, or of the present one. Kernels before 5.14 have none: then the result
 * is 0n, which programs take for the initial namespace's.
 * @throws {NetnsCookieError} on such a kernel, when it is not the namespace of process 1
 * @throws {SyscallError} ENOENT
 */
export function netnsCookie(path?: string): bigint {
  using socket = NetlinkSocket.open(path);
  const value = new BigUint64Array(1);
  const length = new Uint32Array([8]);
  const result = rawSyscall(
    SYS.getsockopt,
    socket.fd,
    SOL_SOCKET,
    SO_NETNS_COOKIE,
    address(new Uint8Array(value.buffer)),
    address(new Uint8Array(length.buffer)),
  );
  if (result === 0 && length[0] === 8) return value[0]!;
  if (result !== -ENOPROTOOPT) throw new SyscallError("getsockopt(SO_NETNS_COOKIE)", -result);
  return initialNetns(path);
}

function initialNetns(path = "/proc/thread-self/ns/net"): bigint {
  if (sameFile(path, "/proc/1/ns/net")) return 0n;
  throw new NetnsCookieError(
    `Linux ${Deno.osRelease()} has no cookie of ${path}: before 5.14 only the initial network ` +
      `namespace can be a node's`,
  );
}

/** Namespaces are files: a bind mount of one has its inode. */
function sameFile(a: string, b: string): boolean {
  const [first, second] = [a, b].map((path) => Deno.statSync(path));
  return first!.ino === second!.ino && first!.dev === second!.dev;
}
