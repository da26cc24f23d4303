/**
 * Sends UDP packets from a namespace as fast as it can, on a thread of its own, until told to stop; then tells how many.
 * In: {netnsPath, address, stop: SharedArrayBuffer of one Int32}. Out: "started", then the number of packets.
 */
/// <reference lib="deno.worker" />
import { parseIpv4 } from "../../src/net/ipv4.ts";
import { address, closeFd, rawSyscall, SYS, syscall } from "../../src/linux/libc.ts";
import { withNetns } from "../../src/linux/netns.ts";

interface Order {
  netnsPath: string;
  address: string;
  stop: SharedArrayBuffer;
}

self.onmessage = ({ data }: MessageEvent<Order>) => {
  const AF_INET = 2;
  const SOCK_DGRAM = 2;
  const fd = withNetns(data.netnsPath, () => syscall("socket", AF_INET, SOCK_DGRAM, 0));
  const target = new Uint8Array(16);
  new Uint16Array(target.buffer)[0] = AF_INET;
  new DataView(target.buffer).setUint16(2, 9); // discard
  new DataView(target.buffer).setUint32(4, parseIpv4(data.address));
  const payload = new Uint8Array(32);
  const [targetAt, payloadAt] = [address(target), address(payload)];
  const stop = new Int32Array(data.stop);
  self.postMessage("started");
  let sent = 0;
  while (Atomics.load(stop, 0) === 0) {
    if (rawSyscall(SYS.sendto, fd, payloadAt, payload.length, 0, targetAt, 16) > 0) sent++;
  }
  closeFd(fd);
  self.postMessage(sent);
};
