/**
 * A netlink socket that asks and gets answers (RFC 3549, Documentation/userspace-api/netlink). What the messages of
 * NETLINK_ROUTE mean is told by the rtnl_*.ts files.
 *
 * All calls are synchronous: the kernel answers a request while it is being sent, so nothing ever waits.
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
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

/** A netlink socket. It goes on belonging to the network namespace it was opened in. */
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
   */
  static open(
    netnsPath?: string,
    options: { protocol?: number; groups?: number } = {},
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
   * Sends a request and returns the kernel's answers up to its acknowledgement.
   * @param what names the request in errors, e.g. `RTM_NEWLINK`
   * @throws {SyscallError} with the kernel's explanation when it gives one
   */
  request(what: string, type: number, flags: number, message: Message): Received[] {
    return this.#exchange(what, type, flags | NLM_F.REQUEST | NLM_F.ACK, message, false);
  }

  /**
   * Asks for all objects of a kind. A dump during which the kernel's list changed is asked for again.
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
    const answers: Received[] = [];
    while (true) {
      for (const received of this.receive(what)) {
        if (received.sequence !== sequence) continue;
        if (received.type === NLMSG_ERROR) {
          throwOnError(what, received);
          return answers;
        }
        if (received.type === NLMSG_DONE) {
          const error = received.body.bytes.length >= 4
            ? received.body.view.getInt32(0, LITTLE)
            : 0;
          if (error < 0) throw new SyscallError(what, -error);
          return answers;
        }
        answers.push(received);
      }
      if (!dump && answers.length > 64) throw new Error(`${what}: no acknowledgement`);
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

  /** Closes the socket; more than once does no harm. */
  close(): void {
    if (!this.#closed) closeFd(this.fd);
    this.#closed = true;
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

function throwOnError(what: string, received: Received): void {
  const error = received.body.view.getInt32(0, LITTLE);
  if (error === 0) return;
  let text: string | undefined;
  if (received.flags & NLM_F_ACK_TLVS) {
    // struct nlmsgerr: the error, then the request: only its header when the message is capped.
    const request = received.flags & NLM_F_CAPPED ? 16 : (received.body.u32(4) + 3) & ~3;
    text = received.body.attrs(4 + request).get(NLMSGERR_ATTR_MSG)?.text();
  }
  throw new SyscallError(what, -error, text);
}
