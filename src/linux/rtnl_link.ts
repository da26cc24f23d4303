/** Network devices by rtnetlink: RTM_GETLINK and its relatives (rtnetlink(7), include/uapi/linux/if_link.h). */
import { addressBytes } from "../net/address.ts";
import { formatMac, macBytes } from "../net/mac.ts";
import { SyscallError } from "./libc.ts";
import { Message, NetlinkSocket, NLM_F, Reader } from "./netlink.ts";

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
const RTM_SETLINK = 19;

export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  QDISC: 6,
  MASTER: 10,
  LINKINFO: 18,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  LINK_NETNSID: 37,
} as const;
export const IFLA_INFO_KIND = 1;
export const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;
const IFLA_BR = { FORWARD_DELAY: 1, STP_STATE: 5, VLAN_FILTERING: 7 } as const;
const IFLA_BRPORT = {
  STATE: 1,
  LEARNING: 8,
  UNICAST_FLOOD: 9,
  BCAST_FLOOD: 30,
  ISOLATED: 33,
  LOCKED: 39,
} as const;
const BR_STATE_FORWARDING = 3;
const VETH_INFO_PEER = 1;
export const IFLA_VXLAN = {
  ID: 1,
  LINK: 3,
  LOCAL: 4,
  LEARNING: 7,
  PORT: 15,
  COLLECT_METADATA: 25,
} as const;
export const RTEXT_FILTER_SKIP_STATS = 8;

const IFF_UP = 0x1;
const IFF_BROADCAST = 0x2;
const IFF_LOOPBACK = 0x8;
const IFF_POINTOPOINT = 0x10;
const IFF_NOARP = 0x80;
const IFF_LOWER_UP = 0x10000;

/** A network device. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `aa:bb:cc:dd:ee:ff`; empty for a device without one. */
  readonly mac: string;
  /** Bytes. */
  readonly mtu: number;
  /** Administratively up. */
  readonly up: boolean;
  /** Up and with a carrier. */
  readonly running: boolean;
  readonly loopback: boolean;
  /** It has one other end. */
  readonly pointToPoint?: boolean;
  /** ARPHRD_*: what its frames begin with; 1 is Ethernet. */
  readonly type: number;
  /** Index of the bridge (or the like) whose port this device is. */
  readonly master?: number;
  /** IFLA_LINK: of a veth the index of its other end, within that end's network namespace. */
  readonly peerIndex?: number;
  /** Id of the other end's network namespace; absent when it is in the same one. */
  readonly peerNetnsId?: number;
  /** Driver, e.g. `veth`, `bridge`, `vxlan`; absent for real hardware. */
  readonly kind?: string;
  /** Root qdisc, e.g. `noqueue`, `tbf`. */
  readonly qdisc?: string;
  /** Neither asks by ARP nor replies. */
  readonly noArp?: boolean;
  /** Of a bridge. */
  readonly bridge?: BridgeSwitches;
  /** Of a port of a bridge: what keeps it from switching all frames; none on a new one that is running. */
  readonly portLimits?: readonly PortLimit[];
}

/** Switches of a bridge; both are off on a new one. */
export interface BridgeSwitches {
  stp: boolean;
  vlanFiltering: boolean;
}

type PortLimit =
  | "blocking"
  | "isolated"
  | "locked"
  | "no learning"
  | "no flooding"
  | "no broadcasts";

/** Switches of a bridge's port. */
export interface PortSwitches {
  /** No frame goes from it to another port that is isolated. */
  isolated: boolean;
  learning: boolean;
  /** Unicast frames to unknown MAC addresses leave by it, too. */
  flood: boolean;
}

const ETHER = 1;
/** ARPHRD_PPP, _RAWIP, _TUNNEL (IPIP), _TUNNEL6, _SIT, _NONE (TUN, WireGuard). */
const HEADERLESS = [512, 519, 768, 769, 776, 0xfffe];
/** ARPHRD_IPGRE and _IP6GRE. */
const GRE = [778, 823];

/** Whether packets of the device have an Ethernet header. */
export const isEthernet = ({ type }: Pick<Link, "type">): boolean => type === ETHER;

/**
 * Whether they begin with the IP header: TUN, WireGuard, IPIP, SIT, PPP, modems, GRE to one other end. Packets of a GRE
 * device with many ends begin with the outer header that the neighbour table fills in.
 */
export function hasNoHeader({ type, pointToPoint }: Pick<Link, "type" | "pointToPoint">): boolean {
  return HEADERLESS.includes(type) || (GRE.includes(type) && pointToPoint === true);
}

/** What `addLink` and `setLink` can set. */
export interface LinkChange {
  name?: string;
  mac?: string;
  /** Bytes. */
  mtu?: number;
  up?: boolean;
  /** Index of the bridge to become a port of; 0: leave it. */
  master?: number;
  /** Descriptor of the network namespace to move to. */
  netnsFd?: number;
  arp?: boolean;
}

/** A device to make. */
export type NewLink =
  & LinkChange
  & { name: string; /** Chosen by the kernel when left out. */ index?: number }
  & (
    | { kind: "veth"; peer: VethPeer }
    | { kind: "bridge"; /** Seconds until a port forwards; 0 is at once. */ forwardDelay?: number }
    | { kind: "vxlan"; vxlan: VxlanOptions }
  );

/** The other end of a new veth pair. The kernel cannot set it up before the pair is made. */
type VethPeer = Omit<LinkChange, "up"> & { name: string };

/** Options of a VXLAN device (RFC 7348). */
interface VxlanOptions {
  /** VXLAN network identifier, 24 bits; ignored when `external`. */
  id?: number;
  /** UDP port; 4789 by default. */
  port?: number;
  /** Address of this VTEP. */
  local?: string;
  /** Index of the underlying device. */
  link?: number;
  /** Learns MAC addresses from traffic; false by default. */
  learning?: boolean;
  /** Metadata mode: identifier and destination come with each packet. */
  external?: boolean;
}

/** Reads one RTM_NEWLINK or RTM_DELLINK. */
export function parseLink(body: Reader): Link {
  const flags = body.u32(8);
  const attrs = body.attrs(16);
  const info = attrs.get(IFLA.LINKINFO)?.attrs();
  return {
    index: body.u32(4),
    name: attrs.get(IFLA.IFNAME)?.text() ?? "",
    mac: formatMac(attrs.get(IFLA.ADDRESS)?.bytes ?? new Uint8Array()),
    mtu: attrs.get(IFLA.MTU)?.u32(0) ?? 0,
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_LOWER_UP) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    // A GRE device with a multicast group has both flags.
    pointToPoint: (flags & (IFF_POINTOPOINT | IFF_BROADCAST)) === IFF_POINTOPOINT,
    type: body.u16(2),
    master: attrs.get(IFLA.MASTER)?.u32(0),
    peerIndex: attrs.get(IFLA.LINK)?.u32(0),
    peerNetnsId: attrs.get(IFLA.LINK_NETNSID)?.u32(0),
    kind: info?.get(IFLA_INFO_KIND)?.text(),
    qdisc: attrs.get(IFLA.QDISC)?.text(),
    noArp: (flags & IFF_NOARP) !== 0,
    ...parseBridge(info),
  };
}

function parseBridge(info: Map<number, Reader> | undefined): Pick<Link, "bridge" | "portLimits"> {
  const found: { bridge?: BridgeSwitches; portLimits?: PortLimit[] } = {};
  if (info?.get(IFLA_INFO_KIND)?.text() === "bridge") {
    const data = info.get(IFLA_INFO_DATA)?.attrs();
    found.bridge = {
      stp: (data?.get(IFLA_BR.STP_STATE)?.u32(0) ?? 0) !== 0,
      vlanFiltering: data?.get(IFLA_BR.VLAN_FILTERING)?.u8(0) === 1,
    };
  }
  if (info?.get(IFLA_INFO_SLAVE_KIND)?.text() === "bridge") {
    const data = info.get(IFLA_INFO_SLAVE_DATA)?.attrs();
    const is = (name: keyof typeof IFLA_BRPORT, value: number) =>
      data?.get(IFLA_BRPORT[name])?.u8(0) === value;
    const limits: [PortLimit, boolean][] = [
      ["blocking", data !== undefined && !is("STATE", BR_STATE_FORWARDING)],
      ["isolated", is("ISOLATED", 1)],
      ["locked", is("LOCKED", 1)],
      ["no learning", is("LEARNING", 0)],
      ["no flooding", is("UNICAST_FLOOD", 0)],
      ["no broadcasts", is("BCAST_FLOOD", 0)],
    ];
    found.portLimits = limits.filter(([, is]) => is).map(([limit]) => limit);
  }
  return found;
}

function header(index: number, flags = 0, mask = 0): Message {
  return new Message().u32(0).u32(index).u32(flags).u32(mask);
}

/** All devices of the namespace. */
export function listLinks(socket: NetlinkSocket): Link[] {
  const message = header(0).attrU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return socket.dump("RTM_GETLINK", RTM_GETLINK, message).map(({ body }) => parseLink(body));
}

/** One device by name or index; undefined when there is none. */
export function getLink(socket: NetlinkSocket, key: string | number): Link | undefined {
  const message = header(typeof key === "number" ? key : 0);
  if (typeof key === "string") message.attrString(IFLA.IFNAME, key);
  message.attrU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  try {
    const [answer] = socket.request("RTM_GETLINK", RTM_GETLINK, 0, message);
    return answer && parseLink(answer.body);
  } catch (error) {
    if (error instanceof SyscallError && error.code === "ENODEV") return undefined;
    throw error;
  }
}

function addChange(message: Message, change: LinkChange): void {
  if (change.name !== undefined) message.attrString(IFLA.IFNAME, change.name);
  if (change.mac !== undefined) message.attr(IFLA.ADDRESS, macBytes(change.mac));
  if (change.mtu !== undefined) message.attrU32(IFLA.MTU, change.mtu);
  if (change.master !== undefined) message.attrU32(IFLA.MASTER, change.master);
  if (change.netnsFd !== undefined) message.attrU32(IFLA.NET_NS_FD, change.netnsFd);
}

function flagsOf({ up, arp }: LinkChange): [flags: number, mask: number] {
  return [
    (up ? IFF_UP : 0) | (arp === false ? IFF_NOARP : 0),
    (up === undefined ? 0 : IFF_UP) | (arp === undefined ? 0 : IFF_NOARP),
  ];
}

/**
 * Makes a device; of a veth both ends, each with its own namespace if wanted.
 * @throws {SyscallError} EEXIST when the name is taken
 */
export function addLink(socket: NetlinkSocket, link: NewLink): void {
  const message = header(link.index ?? 0, ...flagsOf(link));
  addChange(message, link);
  message.nest(IFLA.LINKINFO, (info) => {
    info.attrString(IFLA_INFO_KIND, link.kind);
    info.nest(IFLA_INFO_DATA, (data) => {
      if (link.kind === "veth") addPeer(data, link.peer);
      if (link.kind === "vxlan") addVxlan(data, link.vxlan);
      // It counts hundredths of a second.
      if (link.kind === "bridge" && link.forwardDelay !== undefined) {
        data.attrU32(IFLA_BR.FORWARD_DELAY, link.forwardDelay * 100);
      }
    });
  });
  socket.request("RTM_NEWLINK", RTM_NEWLINK, NLM_F.CREATE | NLM_F.EXCL, message);
}

function addPeer(data: Message, peer: VethPeer): void {
  data.nest(VETH_INFO_PEER, (message) => {
    message.u32(0).u32(0).u32(0).u32(0); // struct ifinfomsg
    addChange(message, peer);
  });
}

function addVxlan(data: Message, options: VxlanOptions): void {
  if (!options.external) data.attrU32(IFLA_VXLAN.ID, options.id ?? 0);
  else data.attrU8(IFLA_VXLAN.COLLECT_METADATA, 1);
  if (options.link !== undefined) data.attrU32(IFLA_VXLAN.LINK, options.link);
  if (options.local !== undefined) data.attr(IFLA_VXLAN.LOCAL, addressBytes(options.local));
  data.attrU8(IFLA_VXLAN.LEARNING, options.learning ? 1 : 0);
  data.attrBe16(IFLA_VXLAN.PORT, options.port ?? 4789);
}

/**
 * Changes a device.
 * @throws {SyscallError} ENODEV when there is none
 */
export function setLink(socket: NetlinkSocket, index: number, change: LinkChange): void {
  const message = header(index, ...flagsOf(change));
  addChange(message, change);
  socket.request("RTM_SETLINK", RTM_SETLINK, 0, message);
}

/** Turns switches of a bridge on or off. @throws {SyscallError} ENODEV */
export function setBridge(
  socket: NetlinkSocket,
  index: number,
  { stp, vlanFiltering }: BridgeSwitches,
): void {
  const message = header(index).nest(IFLA.LINKINFO, (info) => {
    info.attrString(IFLA_INFO_KIND, "bridge");
    info.nest(IFLA_INFO_DATA, (data) => {
      data.attrU32(IFLA_BR.STP_STATE, stp ? 1 : 0);
      data.attrU8(IFLA_BR.VLAN_FILTERING, vlanFiltering ? 1 : 0);
    });
  });
  socket.request("RTM_NEWLINK", RTM_NEWLINK, 0, message);
}

/** Turns switches of a bridge's port on or off. @throws {SyscallError} ENODEV; EOPNOTSUPP: it is no port */
export function setPort(
  socket: NetlinkSocket,
  index: number,
  { isolated, learning, flood }: PortSwitches,
): void {
  const message = header(index).nest(IFLA.LINKINFO, (info) => {
    info.attrString(IFLA_INFO_SLAVE_KIND, "bridge");
    info.nest(IFLA_INFO_SLAVE_DATA, (data) => {
      data.attrU8(IFLA_BRPORT.ISOLATED, isolated ? 1 : 0);
      data.attrU8(IFLA_BRPORT.LEARNING, learning ? 1 : 0);
      data.attrU8(IFLA_BRPORT.UNICAST_FLOOD, flood ? 1 : 0);
    });
  });
  socket.request("RTM_NEWLINK", RTM_NEWLINK, 0, message);
}

/** Removes a device by index; false when there was none. */
export function deleteLink(socket: NetlinkSocket, index: number): boolean {
  try {
    socket.request("RTM_DELLINK", RTM_DELLINK, 0, header(index));
    return true;
  } catch (error) {
    if (error instanceof SyscallError && error.code === "ENODEV") return false;
    throw error;
  }
}
