/** The data plane's map `remotes`, for routing. */
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import { type CidrKey, type Remote as Entry, REMOTE_MODE } from "../../bpf/layout.ts";
import type { Link, RtNetlink } from "../../linux/rtnetlink.ts";
import type { RemotesMap } from "../routing/read_kernel.ts";
import type { Remote } from "../../routing/types.ts";
import { parseInterface } from "../../net/prefix.ts";

interface RemotesOptions {
  map: DataPlaneMaps["remotes"];
  nl: Pick<RtNetlink, "link">;
  /** Name of the overlay device. */
  device: string;
  vni: number;
  /** Index of the uplink on whose network a node is; undefined: none. */
  uplink: (address: string) => number | undefined;
}

const NO_MAC = "00:00:00:00:00:00";

/**
 * An entry has the device, VNI and MTU of its path, so that a packet needs one look-up. An entry that differs from what
 * would be written now (the device was created again) is read as unlike any plan, and so written again.
 */
export function remotesMap({ map, nl, device, vni, uplink }: RemotesOptions): RemotesMap {
  const entryOf = (remote: Remote, links: Links): Entry => {
    const overlay = remote.mode === "overlay";
    const link = links(overlay ? device : uplink(remote.nodeAddr));
    return {
      via: remote.nodeAddr,
      ifindex: link?.index ?? 0,
      vni: overlay ? vni : 0,
      mtu: Math.min(link?.mtu ?? 0, 0xffff),
      mode: link === undefined
        ? REMOTE_MODE.ROUTED
        : overlay
        ? REMOTE_MODE.OVERLAY
        : REMOTE_MODE.DIRECT,
      mac: overlay ? remote.mac : NO_MAC,
    };
  };
  return {
    read() {
      const links = linksOnce(nl);
      const found = new Map<string, Remote>();
      for (const [{ addr, prefixlen }, entry] of map.entries()) {
        const prefix = `${addr}/${prefixlen}`;
        const mode = entry.mode === REMOTE_MODE.OVERLAY ? "overlay" : "direct";
        const remote: Remote = { prefix, mode, nodeAddr: entry.via, mac: entry.mac };
        const right = JSON.stringify(entryOf(remote, links)) === JSON.stringify(entry);
        found.set(prefix, right ? remote : { ...remote, nodeAddr: "0.0.0.0" });
      }
      return found;
    },
    fingerprint: () => map.fingerprint(),
    writer() {
      const links = linksOnce(nl);
      return (remote) => map.set(keyOf(remote.prefix), entryOf(remote, links));
    },
    delete: (prefix) => void map.delete(keyOf(prefix)),
  };
}

type Links = (key: string | number | undefined) => Link | undefined;

/** Looks each device up once: thousands of entries name the same few. */
function linksOnce(nl: Pick<RtNetlink, "link">): Links {
  const found = new Map<string | number, Link | undefined>();
  return (key) => {
    if (key === undefined) return undefined;
    if (!found.has(key)) found.set(key, nl.link(key));
    return found.get(key);
  };
}

/** `10.244.1.0/24` as a key of a longest-prefix map. */
export function keyOf(prefix: string): CidrKey {
  const { address, length } = parseInterface(prefix, 4);
  return { addr: address, prefixlen: length };
}
