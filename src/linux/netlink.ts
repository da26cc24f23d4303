/**
 * The netlink protocol (RFC 3549, Documentation/userspace-api/netlink): messages, attributes, and a socket that asks and
 * gets answers. What the messages of NETLINK_ROUTE mean is told by the rtnl_*.ts files.
 *
 * All calls are synchronous: the kernel answers a request while it is being sent, so nothing ever waits.
 */
import { address, closeFd, rawSyscall, SYS, syscall, SyscallError } from "./libc.ts";
import { withNetns } from "./netns.ts";

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

const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Native byte order: netlink headers are not network byte order. */
export const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Builds the body of a message: the fixed header, then attributes. Grows as needed. */
export class Message {
  #bytes = new Uint8Array(512);
  #view = new DataView(this.#bytes.buffer);
  #length = 16; // room for struct nlmsghdr

  /** The finished message, its header filled in. */
  finish(type: number, flags: number, sequence: number): Uint8Array<ArrayBuffer> {
    this.#view.setUint32(0, this.#length, LITTLE);
    this.#view.setUint16(4, type, LITTLE);
    this.#view.setUint16(6, flags, LITTLE);
    this.#view.setUint32(8, sequence, LITTLE);
    this.#view.setUint32(12, 0, LITTLE);
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const bytes = new Uint8Array(this.#length * 2);
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    return at;
  }

  u8(value: number): this {
    this.#view.setUint8(this.#grow(1), value);
    return this;
  }
  /** Host byte order. */
  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, LITTLE);
    return this;
  }
  /** Host byte order. Negative values are taken as 32-bit two's complement. */
  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, LITTLE);
    return this;
  }
  /** Raw bytes, padded to a multiple of four. */
  bytes(value: Uint8Array): this {
    const at = this.#grow((value.length + 3) & ~3);
    this.#bytes.set(value, at);
    return this;
  }

  /** An attribute with raw bytes. */
  attr(type: number, value: Uint8Array): this {
    this.u16(value.length + 4).u16(type);
    return this.bytes(value);
  }
  attrU8(type: number, value: number): this {
    return this.attr(type, Uint8Array.of(value));
  }
  /** A 16-bit attribute in network byte order. */
  attrBe16(type: number, value: number): this {
    return this.attr(type, Uint8Array.of(value >> 8, value & 255));
  }
  /** A 32-bit attribute in host byte order. */
  attrU32(type: number, value: number): this {
    return this.u16(8).u16(type).u32(value);
  }
  /** A zero-terminated string. */
  attrString(type: number, value: string): this {
    return this.attr(type, encoder.encode(value + "\0"));
  }
  /** An attribute that holds the attributes which `fill` adds. */
  nest(type: number, fill: (message: this) => void): this {
    const at = this.#length;
    this.u16(0).u16(type | NLA_F_NESTED);
    fill(this);
    this.#view.setUint16(at, this.#length - at, LITTLE);
    return this;
  }
}

/** A part of a received message, read with native byte order. */
export class Reader {
  readonly view: DataView;
  constructor(readonly bytes: Uint8Array<ArrayBuffer>) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  u8(at: number): number {
    return this.view.getUint8(at);
  }
  u16(at: number): number {
    return this.view.getUint16(at, LITTLE);
  }
  u32(at: number): number {
    return this.view.getUint32(at, LITTLE);
  }
  /** Text up to the first NUL. */
  text(): string {
    const end = this.bytes.indexOf(0);
    return decoder.decode(end < 0 ? this.bytes : this.bytes.subarray(0, end));
  }
  /** The attributes from byte `offset` on, by type; of several with one type, the last. */
  attrs(offset = 0): Map<number, Reader> {
    const found = new Map<number, Reader>();
    for (let at = offset; at + 4 <= this.bytes.length;) {
      const length = this.u16(at);
      if (length < 4 || at + length > this.bytes.length) break;
      found.set(
        this.u16(at + 2) & NLA_TYPE_MASK,
        new Reader(this.bytes.subarray(at + 4, at + length)),
      );
      at += (length + 3) & ~3;
    }
    return found;
  }
}

/** One received message. */
export interface Received {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Reader;
}

/** Splits what one `recv` returned into messages. */
export function parseMessages(bytes: Uint8Array<ArrayBuffer>): Received[] {
  const reader = new Reader(bytes);
  const messages: Received[] = [];
  for (let at = 0; at + 16 <= bytes.length;) {
    const length = reader.u32(at);
    if (length < 16 || at + length > bytes.length) break;
    messages.push({
      type: reader.u16(at + 4),
      flags: reader.u16(at + 6),
      sequence: reader.u32(at + 8),
      body: new Reader(bytes.subarray(at + 16, at + length)),
    });
    at += (length + 3) & ~3;
  }
  return messages;
}

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
