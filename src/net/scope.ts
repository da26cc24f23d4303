/** What an address may be used for, by its block (RFC 6890). */
import { addressBytes, familyOf } from "./address.ts";
import { isIpv4, readIpv4 } from "./ipv4.ts";

/** True for an address that a host may have: not unspecified (0/8), loopback, multicast, reserved or broadcast. */
export function isUnicast(address: string): boolean {
  const ipv4 = readIpv4(address);
  if (ipv4 < 0) return address !== "::" && address !== "::1" && addressBytes(address)[0] !== 0xff;
  const top = ipv4 >>> 24;
  return top !== 0 && top !== 127 && top < 224;
}

/** 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291, 2.5.6). */
export function isLinkLocal(address: string): boolean {
  const [first, second] = addressBytes(address);
  return familyOf(address) === 4
    ? first === 169 && second === 254
    : first === 0xfe && (second! & 0xc0) === 0x80;
}

/** 127.0.0.0/8 and ::1. Takes IPv4-mapped texts too: so a socket of both families names its IPv4 clients. */
export function isLoopback(address: string): boolean {
  const ipv4 = address.startsWith("::ffff:") ? address.slice(7) : address;
  return address === "::1" || (isIpv4(ipv4) && ipv4.startsWith("127."));
}
