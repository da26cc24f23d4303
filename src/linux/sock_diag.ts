/**
 * Looking at sockets and ending them by sock_diag(7), as far as hostlb needs it: connected UDP sockets with what an eBPF
 * program stored with them, and the destruction of one (SOCK_DESTROY; CONFIG_INET_DIAG_DESTROY, CONFIG_INET_UDP_DIAG).
 */
import { formatIpv4 } from "./address.ts";
import { SyscallError } from "./libc.ts";
import { Message, NetlinkSocket, type Received } from "./netlink.ts";

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_UDP = 17;
const TCP_ESTABLISHED = 1;

// include/uapi/linux/inet_diag.h and sock_diag.h
const INET_DIAG_REQ_SK_BPF_STORAGES = 2;
const SK_DIAG_BPF_STORAGE_REQ_MAP_FD = 1;
const INET_DIAG_SK_BPF_STORAGES = 20;
const SK_DIAG_BPF_STORAGE = 1;
const SK_DIAG_BPF_STORAGE_MAP_VALUE = 3;

/** struct inet_diag_msg: four bytes, the id, five numbers. */
const ID_AT = 4;
const ID_SIZE = 48;
const MESSAGE_SIZE = 72;

/** Longest IPv4 prefix in an IPv6 address: ::ffff:0:0/96. */
const MAPPED = 0xffff;

/** A connected UDP socket. */
export interface DiagSocket {
  /** AF_INET or AF_INET6. */
  readonly family: number;
  /** The other end. Dotted; of IPv6 sockets only those with a mapped IPv4 address are seen. */
  readonly remote: { readonly addr: string; readonly port: number };
  /** struct inet_diag_sockid, with the socket's cookie. */
  readonly id: Uint8Array<ArrayBuffer>;
  /** What the program stored with it. */
  readonly storage: Uint8Array<ArrayBuffer>;
}

/** This kernel cannot do it; the message says what is missing. */
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
   * Connected UDP sockets with which something is stored in a BPF_MAP_TYPE_SK_STORAGE map (Linux 5.6).
   * @throws {SockDiagError} when the kernel has no udp_diag
   */
  connectedUdp(storageFd: number): DiagSocket[] {
    return [AF_INET, AF_INET6].flatMap((family) => {
      const message = request(family, 1 << TCP_ESTABLISHED, new Uint8Array(ID_SIZE))
        .nest(
          INET_DIAG_REQ_SK_BPF_STORAGES,
          (nested) => nested.attrU32(SK_DIAG_BPF_STORAGE_REQ_MAP_FD, storageFd),
        );
      try {
        return this.#socket.dump("SOCK_DIAG_BY_FAMILY", SOCK_DIAG_BY_FAMILY, message).flatMap(
          parse,
        );
      } catch (error) {
        if (!(error instanceof SyscallError && error.code === "ENOENT")) throw error;
        throw new SockDiagError("this kernel does not list UDP sockets (CONFIG_INET_UDP_DIAG)");
      }
    });
  }

  /**
   * Ends a UDP socket: it is disconnected, and its process gets ECONNABORTED. False when it is gone already.
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
      throw new SockDiagError("this kernel does not end sockets (CONFIG_INET_DIAG_DESTROY)");
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
  const mapped = family === AF_INET6;
  // Ports, then the two addresses of 16 bytes each; an IPv4 address fills the first four.
  if (mapped && !(view.getBigUint64(20) === 0n && view.getUint32(28) === MAPPED)) return [];
  const storage = body.attrs(MESSAGE_SIZE).get(INET_DIAG_SK_BPF_STORAGES)?.attrs()
    .get(SK_DIAG_BPF_STORAGE)?.attrs().get(SK_DIAG_BPF_STORAGE_MAP_VALUE)?.bytes;
  if (!storage) return [];
  const remote = { addr: formatIpv4(view.getUint32(mapped ? 32 : 20)), port: view.getUint16(2) };
  return [{ family, remote, id, storage: storage.slice() }];
}
