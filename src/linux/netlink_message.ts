/** Messages and attributes of netlink (RFC 3549, Documentation/userspace-api/netlink): built and taken apart, nothing sent. */

const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

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
    return new Map(this.#attributes(offset));
  }
  /** The attributes of a list, whose types are all the same. */
  list(): Reader[] {
    return this.#attributes(0).map(([, attribute]) => attribute);
  }
  #attributes(offset: number): [type: number, value: Reader][] {
    const found: [number, Reader][] = [];
    for (let at = offset; at + 4 <= this.bytes.length;) {
      const length = this.u16(at);
      if (length < 4 || at + length > this.bytes.length) break;
      const type = this.u16(at + 2) & NLA_TYPE_MASK;
      found.push([type, new Reader(this.bytes.subarray(at + 4, at + length))]);
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
