/** IPv4 addresses as numbers from 0 to 2^32-1 and as dotted quads: 10.0.0.1 is 0x0a000001. */
import { AddressError, quote } from "./error.ts";

/**
 * The number of a dotted quad. Leading zeros (`010.0.0.1`) are refused, as Kubernetes does since CVE-2021-29923: some
 * programs read them as octal.
 * @throws {AddressError}
 */
export function parseIpv4(text: string): number {
  const address = readIpv4(text);
  if (address < 0) throw new AddressError(text, "an IPv4 address", whyNotIpv4(text));
  return address;
}

/** True for a dotted quad. */
export function isIpv4(text: string): boolean {
  return readIpv4(text) >= 0;
}

/** The dotted quad of a number from 0 to 2^32-1. */
export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** The number of a dotted quad; -1 for anything else. */
export function readIpv4(text: string): number {
  let address = 0;
  let octet = -1;
  let dots = 0;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 46;
    if (code === 46) {
      if (octet < 0 || (i - start > 1 && text.charCodeAt(start) === 48)) return -1;
      address = address * 256 + octet;
      octet = -1;
      start = i + 1;
      dots++;
    } else if (code >= 48 && code <= 57) {
      octet = (octet < 0 ? 0 : octet * 10) + code - 48;
      if (octet > 255) return -1;
    } else return -1;
  }
  return dots === 4 ? address : -1;
}

/** The reason why `text`, which `parseIpv4()` refuses, is no dotted quad. */
export function whyNotIpv4(text: string): string {
  if (text === "") return "it is empty";
  const octets = text.split(".");
  for (const octet of octets) {
    const stranger = /[^0-9]/u.exec(octet);
    if (stranger !== null) return `${quote(stranger[0])} is neither a digit nor a dot`;
  }
  if (octets.length !== 4) return `it has ${octets.length} numbers instead of 4`;
  if (octets.includes("")) return "a number is missing";
  const padded = octets.find((octet) => octet.length > 1 && octet.startsWith("0"));
  if (padded !== undefined) {
    return `${padded} has a leading zero, which some programs read as octal`;
  }
  return `${octets.find((octet) => Number(octet) > 255)} is more than 255`;
}
