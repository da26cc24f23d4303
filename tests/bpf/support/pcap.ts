/** Writes frames to a file that tcpdump, tshark and scapy read (libpcap's format, link type Ethernet). */
import { be, type Bytes, concat } from "./packet.ts";

export function pcap(frames: Bytes[]): Bytes {
  const header = be([4, 0xa1b2c3d4], [2, 2], [2, 4], [4, 0], [4, 0], [4, 65535], [4, 1]);
  const records = frames.map((frame, i) =>
    concat(be([4, i], [4, 0], [4, frame.length], [4, frame.length]), frame)
  );
  return concat(header, ...records);
}
