/** Texts of MAC and IPv4 addresses, to and from bytes as they go over the wire. */

/**
 * The four bytes of a dotted IPv4 address.
 * @throws {TypeError} when it is none (no leading zeros, no short forms)
 */
export function ipv4Bytes(text: string): Uint8Array<ArrayBuffer> {
  const value = parseIpv4(text);
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/**
 * A dotted IPv4 address as a number, the first byte the most significant.
 * @throws {TypeError} when it is none (no leading zeros, no short forms)
 */
export function parseIpv4(text: string): number {
  let value = 0;
  let byte = 0;
  let digits = 0;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 46 && digits > 0 && dots < 3) {
      value = value * 256 + byte;
      byte = digits = 0;
      dots++;
    } else if (code >= 48 && code <= 57 && (digits === 0 || byte > 0)) {
      byte = byte * 10 + code - 48;
      digits++;
      if (byte > 255) break;
    } else {
      digits = 0;
      break;
    }
  }
  if (dots !== 3 || digits === 0 || byte > 255) {
    throw new TypeError(`not an IPv4 address: ${JSON.stringify(text)}`);
  }
  return value * 256 + byte;
}

/** The dotted text of an IPv4 address given as a number, the first byte the most significant. */
export function formatIpv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** The text of an address of 4 bytes (dotted) or 16 bytes (RFC 5952's groups, without its shortening of zeros). */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups: string[] = [];
  for (let i = 0; i + 1 < bytes.length; i += 2) {
    groups.push(((bytes[i]! << 8) | bytes[i + 1]!).toString(16));
  }
  return groups.join(":");
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** `aa:bb:cc:dd:ee:ff` for six bytes; other lengths likewise. */
export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => HEX[byte]).join(":");
}

/**
 * The six bytes of a MAC address.
 * @throws {TypeError} when it is none
 */
export function macBytes(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new TypeError(`not a MAC address: ${JSON.stringify(text)}`);
  }
  return Uint8Array.from(text.split(":"), (part) => parseInt(part, 16));
}
