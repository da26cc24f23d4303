/** IPv6 addresses as 16 bytes in network order and as text: every form of RFC 4291, 2.2 in, RFC 5952 out. */
import { AddressError, quote } from "./error.ts";
import { formatIpv4, isIpv4, parseIpv4, whyNotIpv4 } from "./ipv4.ts";

const SIZE = 16;
const COLON = 58;
const DOT = 46;

/**
 * The 16 bytes of an IPv6 address.
 * @throws {AddressError} also for a zone (`fe80::1%eth0`) and for an IPv4-mapped address (`::ffff:10.0.0.1`)
 */
export function parseIpv6(text: string): Uint8Array<ArrayBuffer> {
  const refuse = (reason: string, family?: 6) =>
    new AddressError(text, "an IPv6 address", reason, family);
  const percent = text.indexOf("%");
  const bytes = new Uint8Array(SIZE);
  const wrong = read(percent < 0 ? text : text.slice(0, percent), bytes);
  if (wrong !== undefined) throw refuse(wrong);
  if (percent >= 0) {
    throw refuse(`the zone ${quote(text.slice(percent))} means something on one host only`, 6);
  }
  if (isMapped(bytes)) {
    const ipv4 = formatIpv4(new DataView(bytes.buffer).getUint32(12));
    throw refuse(`it is the IPv4 address ${ipv4} in IPv6's form; write ${ipv4}`, 6);
  }
  return bytes;
}

/** The text of 16 bytes, as RFC 5952 has it; an IPv4-mapped address with a dotted quad (section 5). */
export function formatIpv6(bytes: Uint8Array): string {
  const groups: number[] = [];
  for (let i = 0; i < SIZE; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  const hex = (from: number, to?: number) =>
    groups.slice(from, to).map((group) => group.toString(16)).join(":");
  if (isMapped(bytes)) {
    return `::ffff:${formatIpv4(groups[6]! * 0x10000 + groups[7]!)}`;
  }
  const { start, length } = longestZeros(groups);
  return length < 2 ? hex(0) : `${hex(0, start)}::${hex(start + length)}`;
}

/** RFC 4291, 2.5.5.2: ::ffff:0:0/96. */
function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 255 && bytes[11] === 255;
}

/** The longest sequence of zero groups, the first of equal ones (RFC 5952, 4.2). */
function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  groups.forEach((group, i) => {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: i + 1 - length, length };
  });
  return best;
}

/** Fills `bytes`, which are zero; returns the reason when `text` is no address. */
function read(text: string, bytes: Uint8Array): string | undefined {
  let at = 0;
  /** Where `::` stands; -1: nowhere so far. */
  let gap = -1;
  let i = 0;
  if (text.startsWith("::")) [gap, i] = [0, 2];
  while (i < text.length) {
    const start = i;
    let group = 0;
    for (let digit; i < text.length && (digit = hexDigit(text.charCodeAt(i))) >= 0; i++) {
      group = group * 16 + digit;
    }
    const next = i < text.length ? text.charCodeAt(i) : COLON;
    if (at === SIZE) return "it has more than 8 groups";
    if (next === DOT) {
      const quad = text.slice(start);
      if (!isIpv4(quad)) return `${quote(quad)} at its end is no IPv4 address: ${whyNotIpv4(quad)}`;
      if (at > SIZE - 4) return "it has more than 8 groups";
      new DataView(bytes.buffer).setUint32(at, parseIpv4(quad));
      at += 4;
      break;
    }
    if (next !== COLON) {
      return `${quote(charAt(text, i))} is neither a hexadecimal digit nor a colon`;
    }
    if (i === start) return "a group is missing";
    if (i - start > 4) return `${text.slice(start, i)} has more than 4 digits`;
    bytes[at++] = group >> 8;
    bytes[at++] = group & 255;
    if (i++ >= text.length) break;
    if (text.charCodeAt(i) === COLON) {
      if (gap >= 0) return "it has :: twice";
      gap = at;
      i++;
    } else if (i === text.length) return "it ends with a colon";
  }
  if (gap < 0) return at === SIZE ? undefined : tooFew(text, at / 2);
  if (at === SIZE) return "it has :: beside 8 groups";
  const end = SIZE - (at - gap);
  bytes.copyWithin(end, gap, at);
  bytes.fill(0, gap, end);
  return undefined;
}

function tooFew(text: string, groups: number): string {
  return text === "" ? "it is empty" : `it has ${groups} groups instead of 8, and no ::`;
}

/** The whole character at `i`, which may be two code units. */
function charAt(text: string, i: number): string {
  return String.fromCodePoint(text.codePointAt(i)!);
}

/** -1 for what is none. */
function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}
