/**
 * VXLAN devices with their options, which a plain list of devices does not tell, and their checksum offload
 * (include/uapi/linux/if_link.h, include/uapi/linux/ethtool.h).
 */
import { address, syscall } from "./libc.ts";
import { formatAddress } from "../net/address.ts";
import { Message, NetlinkSocket, type Reader } from "./netlink.ts";
import { type Link, parseLink } from "./rtnl_link.ts";

const RTM_GETLINK = 18;
const IFLA_LINKINFO = 18;
const IFLA_EXT_MASK = 29;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFLA_VXLAN = {
  ID: 1,
  LINK: 3,
  LOCAL: 4,
  LEARNING: 7,
  PORT: 15,
  COLLECT_METADATA: 25,
} as const;

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

/** A connection for what concerns tunnel devices. It goes on belonging to the namespace it was opened in. */
export class TunnelNetlink {
  private constructor(private readonly socket: NetlinkSocket) {}

  /** Opens a connection in the present network namespace or in the one at `netnsPath`. */
  static open(netnsPath?: string): TunnelNetlink {
    return new TunnelNetlink(NetlinkSocket.open(netnsPath));
  }

  /** All VXLAN devices of the namespace. */
  vxlans(): VxlanLink[] {
    const request = new Message().u32(0).u32(0).u32(0).u32(0)
      .attrU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
      .nest(IFLA_LINKINFO, (info) => info.attrString(IFLA_INFO_KIND, "vxlan"));
    return this.socket.dump("RTM_GETLINK", RTM_GETLINK, request)
      .map(({ body }) => parseVxlan(body))
      .filter((link) => link !== undefined);
  }

  /**
   * Whether a device leaves transport checksums to the hardware below it.
   * @throws {SyscallError} ENODEV
   */
  checksumOffload(device: string): boolean {
    return this.#ethtool(device, ETHTOOL_GTXCSUM, 0) !== 0;
  }

  /**
   * Has a device's transport checksums computed by the hardware below it (`on`) or before it. Off also turns off
   * segmentation by it, which needs them.
   * @throws {SyscallError} ENODEV, EOPNOTSUPP
   */
  setChecksumOffload(device: string, on: boolean): void {
    this.#ethtool(device, ETHTOOL_STXCSUM, on ? 1 : 0);
  }

  /** The ioctl with a struct ethtool_value; every kind of socket takes it. */
  #ethtool(device: string, command: number, data: number): number {
    const name = new TextEncoder().encode(device);
    if (name.length === 0 || name.length >= IFNAMSIZ) throw new TypeError(`no device: ${device}`);
    const value = new Uint32Array([command, data]);
    const request = new Uint8Array(IFREQ_BYTES);
    request.set(name);
    const pointer = address(new Uint8Array(value.buffer));
    new BigUint64Array(request.buffer, IFNAMSIZ, 1)[0] = BigInt(pointer);
    syscall("ioctl", this.socket.fd, SIOCETHTOOL, request);
    return value[1]!;
  }

  /** Closes the connection; more than once does no harm. */
  close(): void {
    this.socket.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Reads one RTM_NEWLINK; undefined when it is no VXLAN device. */
function parseVxlan(body: Reader): VxlanLink | undefined {
  const info = body.attrs(16).get(IFLA_LINKINFO)?.attrs();
  if (info?.get(IFLA_INFO_KIND)?.text() !== "vxlan") return undefined;
  const data = info.get(IFLA_INFO_DATA)?.attrs();
  const port = data?.get(IFLA_VXLAN.PORT)?.view.getUint16(0);
  const local = data?.get(IFLA_VXLAN.LOCAL);
  const lower = data?.get(IFLA_VXLAN.LINK)?.u32(0);
  return {
    ...parseLink(body),
    id: data?.get(IFLA_VXLAN.ID)?.u32(0) ?? 0,
    port: port ?? 0,
    external: (data?.get(IFLA_VXLAN.COLLECT_METADATA)?.u8(0) ?? 0) !== 0,
    learning: (data?.get(IFLA_VXLAN.LEARNING)?.u8(0) ?? 0) !== 0,
    ...(local === undefined ? {} : { local: formatAddress(local.bytes) }),
    ...(lower ? { lower } : {}),
  };
}
