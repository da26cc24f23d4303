/**
 * A netlink socket for requests and their replies (RFC 3549, Documentation/userspace-api/netlink). The rtnl_*.ts files have
 * the messages of NETLINK_ROUTE.
 *
 * All calls are synchronous: the kernel replies within the system call that sends, so nothing waits.
 */
import { address, closeFd, rawSyscall, SYS, syscall, SyscallError } from "./libc.ts";
import { LITTLE, Message, parseMessages, type Received } from "./netlink_message.ts";
import { withNetns } from "./netns.ts";

export { Message, Reader, type Received } from "./netlink_message.ts";

/** Flags of a request (include/uapi/linux/netlink.h). */
export const NLM_F = {
  REQUEST: 0x1,
  ACK: 0x4,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
} as const;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

/**
 * How many requests are sent at once. Each may get an error with an extended ACK, and all replies wait in the socket's
 * buffer together (net.core.rmem_default, 212992 bytes; a reply counts for less than 2 KB).
 */
export const MOST_REQUESTS = 64;

/** A request that is not sent yet. */
export interface NetlinkRequest {
  /** Names it in errors, e.g. `RTM_NEWROUTE`. */
  readonly what: string;
  readonly type: number;
  readonly flags: number;
  readonly message: Message;
  /** Error codes that count as success. */
  readonly fine?: readonly string[];
}

/** A netlink socket of the network namespace it was opened in. */
export class NetlinkSocket {
  readonly fd: number;
  #sequence = 0;
  #closed = false;
  readonly #buffer = new Uint8Array(1 << 16);

  private constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * Opens a socket, in the network namespace at `netnsPath` or in the present one.
   * @param options.protocol NETLINK_ROUTE by default
   * @param options.groups bit mask of multicast groups to join (legacy numbering); makes the socket non-blocking
   * @param options.buffer bytes for received messages, where the default is too little; needs CAP_NET_ADMIN
   */
  static open(
    netnsPath?: string,
    options: { protocol?: number; groups?: number; buffer?: number } = {},
  ): NetlinkSocket {
    if (netnsPath !== undefined) {
      return withNetns(netnsPath, () => NetlinkSocket.open(undefined, options));
    }
    const groups = options.groups ?? 0;
    const type = SOCK_RAW | SOCK_CLOEXEC | (groups ? SOCK_NONBLOCK : 0);
    const fd = syscall("socket", AF_NETLINK, type, options.protocol ?? 0);
    const socket = new NetlinkSocket(fd);
    try {
      const one = new Uint8Array(new Int32Array([1]).buffer);
      for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK]) {
        syscall("setsockopt", fd, SOL_NETLINK, option, one, 4);
      }
      if (options.buffer !== undefined) {
        // The kernel doubles it, for its bookkeeping.
        const size = new Uint8Array(new Int32Array([options.buffer / 2]).buffer);
        syscall("setsockopt", fd, SOL_SOCKET, SO_RCVBUFFORCE, size, 4);
      }
      const self = new Uint8Array(12);
      const view = new DataView(self.buffer);
      view.setUint16(0, AF_NETLINK, LITTLE);
      view.setUint32(8, groups, LITTLE);
      syscall("bind", fd, self, self.length);
    } catch (error) {
      socket.close();
      throw error;
    }
    return socket;
  }

  /**
   * Sends a request and returns the kernel's replies up to its acknowledgement.
   * @param what names the request in errors, e.g. `RTM_NEWLINK`
   * @throws {SyscallError} with the kernel's extended ACK where it sends one
   */
  request(what: string, type: number, flags: number, message: Message): Received[] {
    return this.#exchange(what, type, flags | NLM_F.REQUEST | NLM_F.ACK, message, false);
  }

  /**
   * Sends requests in one system call and reads their replies together: ten thousand routes take a third of the time.
   * The kernel carries out each, in this order, also after one failed.
   * @param requests MOST_REQUESTS at most
   * @returns errors, by the request's index
   * @throws {SyscallError} when they could not be sent, or replies were lost
   */
  requestAll(requests: readonly NetlinkRequest[]): Map<number, SyscallError> {
    const failures = new Map<number, SyscallError>();
    if (requests.length > MOST_REQUESTS) throw new RangeError("too many requests at a time");
    if (requests.length === 0) return failures;
    const first = this.#sequence + 1, last = this.#sequence += requests.length;
    // The kernel always sends errors; only the last request asks for an ACK.
    const bytes = concatenate(requests.map(({ type, flags, message }, i) => {
      const ack = first + i === last ? NLM_F.ACK : 0;
      return message.finish(type, flags | NLM_F.REQUEST | ack, first + i);
    }));
    const { what } = requests[0]!;
    const sent = rawSyscall(SYS.sendto, this.fd, address(bytes), bytes.length);
    if (sent < 0) throw new SyscallError(what, -sent);
    for (;;) {
      for (const received of this.receive(what)) {
        const index = received.sequence - first;
        const request = requests[index];
        if (request === undefined || received.type !== NLMSG_ERROR) continue;
        const error = errorOf(request.what, received);
        if (error && !request.fine?.includes(error.code)) failures.set(index, error);
        if (received.sequence === last) return failures;
      }
    }
  }

  /**
   * Dumps all objects of a kind; again when the kernel's list changed meanwhile (NLM_F_DUMP_INTR).
   * @throws {SyscallError}
   */
  dump(what: string, type: number, message: Message): Received[] {
    for (let attempt = 0;; attempt++) {
      const flags = NLM_F.REQUEST | NLM_F.DUMP;
      const messages = this.#exchange(what, type, flags, message, true);
      if (attempt >= 10 || !messages.some((m) => m.flags & NLM_F_DUMP_INTR)) return messages;
    }
  }

  #exchange(
    what: string,
    type: number,
    flags: number,
    message: Message,
    dump: boolean,
  ): Received[] {
    const sequence = ++this.#sequence;
    const bytes = message.finish(type, flags, sequence);
    const sent = rawSyscall(SYS.sendto, this.fd, address(bytes), bytes.length);
    if (sent < 0) throw new SyscallError(what, -sent);
    const replies: Received[] = [];
    while (true) {
      for (const received of this.receive(what)) {
        if (received.sequence !== sequence) continue;
        if (received.type === NLMSG_ERROR) {
          const error = errorOf(what, received);
          if (error) throw error;
          return replies;
        }
        if (received.type === NLMSG_DONE) {
          const error = received.body.bytes.length >= 4
            ? received.body.view.getInt32(0, LITTLE)
            : 0;
          if (error < 0) throw new SyscallError(what, -error);
          return replies;
        }
        replies.push(received);
      }
      if (!dump && replies.length > 64) throw new Error(`${what}: no acknowledgement`);
    }
  }

  /**
   * Receives once; an empty array when a non-blocking socket has nothing.
   * @throws {SyscallError} ENOBUFS when multicast messages were lost
   */
  receive(what: string): Received[] {
    const length = rawSyscall(
      SYS.recvfrom,
      this.fd,
      address(this.#buffer),
      this.#buffer.length,
    );
    if (length === -11) return [];
    if (length < 0) throw new SyscallError(what, -length);
    return parseMessages(this.#buffer.slice(0, length));
  }

  /** Closes the socket; may be called again. */
  close(): void {
    if (!this.#closed) closeFd(this.fd);
    this.#closed = true;
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The error of an NLMSG_ERROR; undefined for an ACK. */
function errorOf(what: string, received: Received): SyscallError | undefined {
  const error = received.body.view.getInt32(0, LITTLE);
  if (error === 0) return undefined;
  let text: string | undefined;
  if (received.flags & NLM_F_ACK_TLVS) {
    // struct nlmsgerr: the error, then the request: only its header when the message is capped.
    const request = received.flags & NLM_F_CAPPED ? 16 : (received.body.u32(4) + 3) & ~3;
    text = received.body.attrs(4 + request).get(NLMSGERR_ATTR_MSG)?.text();
  }
  return new SyscallError(what, -error, text);
}

/** Messages one after the other; each begins at a multiple of four (NLMSG_ALIGNTO). */
function concatenate(messages: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const aligned = (length: number) => (length + 3) & ~3;
  const bytes = new Uint8Array(messages.reduce((sum, { length }) => sum + aligned(length), 0));
  let at = 0;
  for (const message of messages) {
    bytes.set(message, at);
    at += aligned(message.length);
  }
  return bytes;
}
