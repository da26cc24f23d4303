/** An address and a port in one text: `10.0.0.1:80`, `[fd00::1]:80` (RFC 5952, 6). */
import { familyOf, isAddress, parseAddress } from "./address.ts";
import { AddressError } from "./error.ts";

interface HostPort {
  /** Canonical text. */
  address: string;
  /** 0 to 65535. */
  port: number;
}

export function joinHostPort(address: string, port: number): string {
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * The reverse of `joinHostPort()`.
 * @throws {AddressError}
 */
export function splitHostPort(text: string): HostPort {
  const refuse = (reason: string) =>
    new AddressError(text, "an ADDRESS:PORT like 127.0.0.1:80", reason);
  const colon = text.lastIndexOf(":");
  if (colon < 0) throw refuse("it has no port");
  const digits = text.slice(colon + 1);
  const host = text.slice(0, colon);
  const bracketed = host.startsWith("[") && host.endsWith("]");
  if (host.includes(":") && !bracketed) throw refuse("an IPv6 address needs [ and ] around it");
  if (!/^\d{1,5}$/.test(digits) || Number(digits) > 65535) {
    throw refuse("its port must be a number from 0 to 65535");
  }
  try {
    const address = bracketed ? parseAddress(host.slice(1, -1), 6) : parseAddress(host, 4);
    return { address, port: Number(digits) };
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    throw refuse(error.reason);
  }
}

/** The address in a URL's `hostname`, where an IPv6 address has brackets; undefined for a name. */
export function hostAddress(hostname: string): string | undefined {
  const bracketed = hostname.startsWith("[") && hostname.endsWith("]");
  const address = bracketed ? hostname.slice(1, -1) : hostname;
  return isAddress(address, bracketed ? 6 : 4) ? address : undefined;
}
