/** Addresses of IPv4 sockets (ip(7)). */
import { addressBytes } from "../net/address.ts";

export const AF_INET = 2;

/** struct sockaddr_in. */
export function sockaddr(address: string, port = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16);
  bytes.set(new Uint8Array(new Uint16Array([AF_INET]).buffer));
  bytes.set([port >> 8, port & 255, ...addressBytes(address)], 2);
  return bytes;
}
