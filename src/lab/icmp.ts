/** ICMP echo messages (RFC 792), pure. */

const ECHO_REPLY = 0;
const ECHO = 8;
const HEADER = 8;

/** An echo request with 24 bytes of data. `id` and `sequence` are 16 bits wide. */
export function icmpEcho(id: number, sequence: number): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(HEADER + 24).fill(0x70, HEADER);
  const view = new DataView(message.buffer);
  view.setUint8(0, ECHO);
  view.setUint16(4, id);
  view.setUint16(6, sequence);
  view.setUint16(2, internetChecksum(message));
  return message;
}

/** Reads an echo reply from an IPv4 packet; undefined when it is something else or its checksum is wrong. */
export function readIcmpEchoReply(
  packet: Uint8Array,
): { id: number; sequence: number } | undefined {
  const message = packet.subarray(((packet[0] ?? 0) & 15) * 4);
  if (message.length < HEADER || message[0] !== ECHO_REPLY) return undefined;
  if (internetChecksum(message) !== 0) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  return { id: view.getUint16(4), sequence: view.getUint16(6) };
}

/** The internet checksum (RFC 1071) of `bytes`, 16 bits; 0 over a message that holds its right checksum. */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
