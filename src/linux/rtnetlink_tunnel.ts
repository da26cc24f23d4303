/**
 * VXLAN devices with their options, which `Link` does not have, and their checksum offload
 * (include/uapi/linux/if_link.h, include/uapi/linux/ethtool.h).
 */
import { address, syscall } from "./libc.ts";
import { formatAddress } from "../net/address.ts";
import { Message, NetlinkSocket, type Reader } from "./netlink.ts";
import {
  IFLA,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_VXLAN,
  type Link,
  parseLink,
  RTEXT_FILTER_SKIP_STATS,
  RTM_GETLINK,
} from "./rtnl_link.ts";

const SIOCETHTOOL = 0x8946;
const ETHTOOL_GTXCSUM = 0x16;
const ETHTOOL_STXCSUM = 0x17;
const IFNAMSIZ = 16;
const IFREQ_BYTES = 40;

/** A VXLAN device. */
export interface VxlanLink extends Link {
  /** VXLAN network identifier; 0 when `external`. */
  readonly id: number;
  /** UDP port. */
  readonly port: number;
  /** Metadata mode: identifier and destination come with each packet. */
  readonly external: boolean;
  readonly learning: boolean;
  /** Address of this VTEP, where one is fixed. */
  readonly local?: string;
  /** Index of the underlying device, where one is fixed. */
  readonly lower?: number;
}

/** A connection for tunnel devices of the network namespace it was opened in. */
export class TunnelNetlink {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** Opens a connection in the present network namespace or in the one at `netnsPath`. */
  static open(netnsPath?: string): TunnelNetlink {
    return new TunnelNetlink(NetlinkSocket.open(netnsPath));
  }

  /** All VXLAN devices of the namespace. */
  vxlans(): VxlanLink[] {
    const request = new Message().u32(0).u32(0).u32(0).u32(0)
      .attrU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS)
      .nest(IFLA.LINKINFO, (info) => info.attrString(IFLA_INFO_KIND, "vxlan"));
    return this.#socket.dump("RTM_GETLINK", RTM_GETLINK, request)
      .map(({ body }) => parseVxlan(body))
      .filter((link) => link !== undefined);
  }

  /**
   * Whether the hardware below a device computes transport checksums.
   * @throws {SyscallError} ENODEV
   */
  checksumOffload(device: string): boolean {
    return this.#ethtool(device, ETHTOOL_GTXCSUM, 0) !== 0;
  }

  /**
   * Turns a device's transport checksum offload on or off. Off also turns off segmentation offload, which needs it.
   * @throws {SyscallError} ENODEV, EOPNOTSUPP
   */
  setChecksumOffload(device: string, on: boolean): void {
    this.#ethtool(device, ETHTOOL_STXCSUM, on ? 1 : 0);
  }

  /** SIOCETHTOOL with a struct ethtool_value, which works on any socket. */
  #ethtool(device: string, command: number, data: number): number {
    const name = new TextEncoder().encode(device);
    if (name.length === 0 || name.length >= IFNAMSIZ) throw new TypeError(`no device: ${device}`);
    const value = new Uint32Array([command, data]);
    const request = new Uint8Array(IFREQ_BYTES);
    request.set(name);
    const pointer = address(new Uint8Array(value.buffer));
    new BigUint64Array(request.buffer, IFNAMSIZ, 1)[0] = BigInt(pointer);
    syscall("ioctl", this.#socket.fd, SIOCETHTOOL, request);
    return value[1]!;
  }

  /** Closes the connection; may be called again. */
  close(): void {
    this.#socket.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Reads one RTM_NEWLINK; undefined when it is no VXLAN device. */
function parseVxlan(body: Reader): VxlanLink | undefined {
  const info = body.attrs(16).get(IFLA.LINKINFO)?.attrs();
  if (info?.get(IFLA_INFO_KIND)?.text() !== "vxlan") return undefined;
  const data = info.get(IFLA_INFO_DATA)?.attrs();
  const local = data?.get(IFLA_VXLAN.LOCAL);
  return {
    ...parseLink(body),
    id: data?.get(IFLA_VXLAN.ID)?.u32(0) ?? 0,
    port: data?.get(IFLA_VXLAN.PORT)?.view.getUint16(0) ?? 0,
    external: (data?.get(IFLA_VXLAN.COLLECT_METADATA)?.u8(0) ?? 0) !== 0,
    learning: (data?.get(IFLA_VXLAN.LEARNING)?.u8(0) ?? 0) !== 0,
    local: local && formatAddress(local.bytes),
    lower: data?.get(IFLA_VXLAN.LINK)?.u32(0) || undefined,
  };
}
