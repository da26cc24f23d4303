/**
 * IPv4 addresses as numbers, in host order: 10.0.0.1 is 0x0a000001. Unsigned, 0 to 2^32-1.
 */

/**
 * The address as a number, or undefined when `text` is not a dotted quad.
 *
 * Leading zeros are refused (`010.0.0.1`), as Kubernetes does since CVE-2021-29923: readers disagree on their base.
 */
export function parseIpv4(text: string): number | undefined {
  let address = 0;
  let octet = -1;
  let dots = 0;
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 46;
    if (code === 46) {
      if (octet < 0 || (i - start > 1 && text.charCodeAt(start) === 48)) return undefined;
      address = address * 256 + octet;
      octet = -1;
      start = i + 1;
      dots++;
    } else if (code >= 48 && code <= 57) {
      octet = (octet < 0 ? 0 : octet * 10) + code - 48;
      if (octet > 255) return undefined;
    } else return undefined;
  }
  return dots === 4 ? address : undefined;
}

/** The dotted quad of a number from `parseIpv4()`. */
export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Loosely: has the form of an IPv6 address. Enough to tell it from a mistake, since IPv6 is left alone. */
export function looksLikeIpv6(text: string): boolean {
  return /^[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:.]*(%.+)?$/.test(text);
}
