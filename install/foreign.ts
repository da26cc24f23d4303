/**
 * What other networks and kube-proxy left on the machine, by the names that they give.
 *
 * Told only; `--clean` (clean.ts) removes what is known to be theirs.
 */
import { DEVICES } from "./clean.ts";
import type { Machine } from "./machine.ts";

/** Lines for the user. */
export function foreignNetworks(machine: Pick<Machine, "list" | "live">): string[] {
  const notes = machine.list("/etc/cni/net.d")
    .filter((name) => /\.(conf|conflist|json)$/.test(name) && !name.startsWith("10-pcnk."))
    .map((name) =>
      `/etc/cni/net.d/${name} is another network's; ${
        name < "10-pcnk.conflist"
          ? "pods get that one as long as it is there"
          : "remove it if that network is gone"
      }`
    );
  const devices = machine.live ? machine.list("/sys/class/net") : [];
  for (const device of devices) {
    const [, owner] = DEVICES.find(([pattern]) => pattern.test(device)) ?? [];
    if (owner === undefined) continue;
    notes.push(
      `device ${device} is left by ${owner}; when that is gone: pcnk install --clean, or ip link del ${device}`,
    );
  }
  return notes;
}
