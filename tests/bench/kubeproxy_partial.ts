/**
 * What kube-proxy hands to `iptables-restore --noflush` after a change: since Kubernetes 1.28 the chains of the changed
 * services alone (KEP-3453), but the dispatching rule of every service each time, because KUBE-SERVICES is one chain. Pure.
 */

/** Chains of one service or of one of its endpoints; what follows is the service's number, see kubeproxy.ts. */
const OWN = /^(?::|-A )KUBE-(?:(?:SVC|EXT)-0*(\d+)|SEP-0*?(\d{1,12})\d{4})(?= )/;

/**
 * @param full all rules, as `kubeProxyRules()` makes them; the kernel has them, but for the change
 * @param changed numbers of the changed services
 */
export function partialUpdate(full: string, changed: readonly number[]): string {
  const wanted = new Set(changed);
  return full.split("\n").filter((line) => {
    const own = OWN.exec(line);
    if (own) return wanted.has(Number(own[1] ?? own[2]));
    // Jumps from the built-in chains are there already; --noflush would add them once more.
    return !line.startsWith("-A ") || line.startsWith("-A KUBE-");
  }).join("\n");
}
