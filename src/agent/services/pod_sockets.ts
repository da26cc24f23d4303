/**
 * Ends UDP sockets of pods whose backend is gone: with `socketLB: all` pods' sockets are connected to backends as the
 * node's own are, and only inside its network namespace can a socket be found and ended.
 *
 * Limitation: a pod's namespace is entered by the path that the runtime gave the CNI call, so that must lead there for the
 * agent, too (in a container: the host's /run/netns, which `pcnk manifest` mounts).
 */
import { countStale, endStaleUdpSockets } from "../../bpf/hostlb_sockets.ts";
import { SyscallError } from "../../linux/libc.ts";
import { SockDiag } from "../../linux/sock_diag.ts";
import { readAttachments } from "../../node/attachments.ts";

/** What was done. */
interface EndedInPods {
  ended: number;
  /** Stale connections that are still there. */
  left: number;
}

/**
 * Ends stale sockets in the namespaces of all recorded pods, until none is left.
 * @throws {SockDiagError} when the kernel cannot
 */
export function endStaleInPods(
  stateDir: string,
  search: Parameters<typeof countStale>[0],
): EndedInPods {
  let left = countStale(search);
  let ended = 0;
  const paths = new Set(left > 0 ? readAttachments(stateDir).map(({ netns }) => netns) : []);
  for (const path of paths) {
    using diag = openIfThere(path);
    if (diag === undefined) continue;
    const here = endStaleUdpSockets(diag, search);
    ended += here;
    left -= here;
    if (left <= 0) break;
  }
  return { ended, left };
}

/** /var/run is a link to /run on the host, and may be missing in a container. */
function openIfThere(path: string): SockDiag | undefined {
  for (const candidate of new Set([path, path.replace(/^\/var\/run\//, "/run/")])) {
    try {
      return SockDiag.open(candidate);
    } catch (error) {
      const gone = error instanceof SyscallError && ["ENOENT", "EINVAL"].includes(error.code);
      if (!gone) throw error;
    }
  }
  return undefined;
}
