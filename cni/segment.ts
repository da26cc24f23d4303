/** The port of a pod's bridge, as the programs that are pinned want it. */
import type { DataPlane } from "../src/bpf/dataplane.ts";
import { tryOpenVersion } from "../src/bpf/map_versions.ts";
import { knownRates } from "../src/bpf/rates.ts";
import { SchemaError } from "../src/bpf/schema.ts";
import { portSwitches } from "../src/bpf/segment.ts";
import { closeFd } from "../src/linux/libc.ts";
import type { PortSwitches } from "../src/linux/rtnl_link.ts";

/**
 * @param rates RATE_FLAG, of the pod's device; left out: those that the programs know
 * @returns undefined for programs of an older release, which need the bridge to switch between pods, or while they are
 *   replaced: an agent changes the port then
 */
export function wantedPort(
  { bpffs, maps }: DataPlane,
  ifindex: number,
  rates?: number,
): PortSwitches | undefined {
  try {
    const fd = tryOpenVersion(bpffs, "pod_devices");
    if (fd === undefined) return undefined;
    closeFd(fd);
    return portSwitches(maps, ifindex, rates ?? knownRates(maps.rates, ifindex));
  } catch (error) {
    if (error instanceof SchemaError) return undefined;
    throw error;
  }
}
