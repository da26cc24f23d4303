/**
 * Lists and destroys sockets by sock_diag(7), as far as hostlb needs it: connected UDP sockets with their cookies, and
 * SOCK_DESTROY of one (CONFIG_INET_DIAG_DESTROY, CONFIG_INET_UDP_DIAG).
 */
import { formatIpv4 } from "../net/ipv4.ts";
import { SyscallError } from "./libc.ts";
import { NetlinkSocket } from "./netlink.ts";
import { LITTLE, Message, type Received } from "./netlink_message.ts";

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_UDP = 17;
const TCP_ESTABLISHED = 1;

/** struct inet_diag_msg of include/uapi/linux/inet_diag.h: four bytes, the id, five numbers. */
const ID_AT = 4;
const ID_SIZE = 48;
const MESSAGE_SIZE = 72;

/** Third of the four words of a mapped address, ::ffff:10.0.0.1. */
const MAPPED = 0xffff;

/** A connected UDP socket. */
export interface DiagSocket {
  /** AF_INET or AF_INET6. */
  readonly family: number;
  /** The other end, dotted. Of IPv6 sockets only those with an IPv4-mapped address are listed. */
  readonly remote: { readonly addr: string; readonly port: number };
  /** As eBPF programs read it with bpf_get_socket_cookie(). */
  readonly cookie: bigint;
  /** struct inet_diag_sockid. */
  readonly id: Uint8Array<ArrayBuffer>;
}

/** This kernel lacks an option, which the message names. */
export class SockDiagError extends Error {
  override readonly name = "SockDiagError";
}

/** Sockets of one network namespace. */
export class SockDiag {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** Opens a connection in the present network namespace or in the one at `netnsPath`. */
  static open(netnsPath?: string): SockDiag {
    return new SockDiag(NetlinkSocket.open(netnsPath, { protocol: NETLINK_SOCK_DIAG }));
  }

  /**
   * Connected UDP sockets.
   * @throws {SockDiagError} when the kernel has no udp_diag
   */
  connectedUdp(): DiagSocket[] {
    try {
      return [AF_INET, AF_INET6].flatMap((family) => {
        const message = request(family, 1 << TCP_ESTABLISHED, new Uint8Array(ID_SIZE));
        return this.#socket.dump("SOCK_DIAG_BY_FAMILY", SOCK_DIAG_BY_FAMILY, message);
      }).flatMap(parse);
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === "ENOENT")) throw error;
      throw new SockDiagError("this kernel does not list UDP sockets (CONFIG_INET_UDP_DIAG)");
    }
  }

  /**
   * Disconnects a UDP socket; its process gets ECONNABORTED. False when it is gone already.
   * @throws {SockDiagError} when the kernel cannot
   */
  destroy({ family, id }: DiagSocket): boolean {
    try {
      this.#socket.request("SOCK_DESTROY", SOCK_DESTROY, 0, request(family, ~0 >>> 0, id));
      return true;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      if (error.code === "ENOENT") return false;
      if (error.code !== "EOPNOTSUPP") throw error;
      throw new SockDiagError("this kernel does not destroy sockets (CONFIG_INET_DIAG_DESTROY)");
    }
  }

  close(): void {
    this.#socket.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** struct inet_diag_req_v2. */
function request(family: number, states: number, id: Uint8Array): Message {
  return new Message().u8(family).u8(IPPROTO_UDP).u8(0).u8(0).u32(states).bytes(id);
}

function parse({ type, body }: Received): DiagSocket[] {
  if (type !== SOCK_DIAG_BY_FAMILY || body.bytes.length < MESSAGE_SIZE) return [];
  const family = body.u8(0);
  const id = body.bytes.slice(ID_AT, ID_AT + ID_SIZE);
  const view = new DataView(id.buffer);
  // Ports, source and destination of 16 bytes each, device, cookie. An IPv4 address fills the first four bytes.
  const mapped = family === AF_INET6;
  if (mapped && !(view.getBigUint64(20) === 0n && view.getUint32(28) === MAPPED)) return [];
  const remote = { addr: formatIpv4(view.getUint32(mapped ? 32 : 20)), port: view.getUint16(2) };
  const [low, high] = [view.getUint32(40, LITTLE), view.getUint32(44, LITTLE)];
  return [{ family, remote, cookie: BigInt(high) << 32n | BigInt(low), id }];
}
