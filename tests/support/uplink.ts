/** An uplink as a routing plan wants it. */
import type { RtNetlink } from "../../src/linux/rtnetlink.ts";
import type { Uplink } from "../../src/routing/types.ts";

/** A device with its addresses; undefined when there is none of that name or index. */
export function readUplink(nl: RtNetlink, key: string | number): Uplink | undefined {
  const link = nl.link(key);
  if (link === undefined) return undefined;
  const addresses = nl.addrs(link.index)
    .map(({ address, prefixLength }) => ({ address, prefixLength }));
  return { ifindex: link.index, name: link.name, mtu: link.mtu, addresses };
}
