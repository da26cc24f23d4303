/** Runs a tc program over one packet, without a network (BPF_PROG_TEST_RUN; Documentation/bpf/bpf_prog_run.rst). */
import { LITTLE } from "./codec.ts";
import { progTestRun } from "./syscall.ts";

/** What tc programs return (include/uapi/linux/pkt_cls.h). */
export const TC_ACT = { UNSPEC: -1, OK: 0, SHOT: 2, REDIRECT: 7 } as const;

/** Offsets in struct __sk_buff, and its size (include/uapi/linux/bpf.h). */
const SKB = { mark: 8, priority: 32, ingressIfindex: 36, ifindex: 40, cb: 48, size: 192 } as const;

/** Room for what a program adds to a packet. */
const HEADROOM = 512;

/** How to run. */
interface TestRunOptions {
  /** The device the packet is on, in the caller's network namespace; the loopback device by default. */
  ifindex?: number;
  /** How often, for measuring; the packet goes on changing from run to run. */
  repeat?: number;
  /** skb->mark */
  mark?: number;
  /** The device that the packet came in by before; 0, the default: none. */
  ingress?: number;
}

/** The result of a run. */
interface TestRunResult {
  /** TC_ACT, signed. After bpf_redirect and bpf_redirect_peer it is REDIRECT, without the device. */
  verdict: number;
  packet: Uint8Array<ArrayBuffer>;
  /** Of one run, averaged, nanoseconds. */
  durationNs: number;
  mark: number;
  /** skb->cb */
  cb: number[];
}

/**
 * Runs a tc program over `packet`, an Ethernet frame.
 * @throws {SyscallError} EINVAL for a packet shorter than an Ethernet header, ENODEV for an unknown ifindex
 */
export function testRun(
  progFd: number,
  packet: Uint8Array,
  options: TestRunOptions = {},
): TestRunResult {
  const ctxIn = new Uint8Array(SKB.size);
  const view = new DataView(ctxIn.buffer);
  view.setUint32(SKB.mark, options.mark ?? 0, LITTLE);
  view.setUint32(SKB.ingressIfindex, options.ingress ?? 0, LITTLE);
  view.setUint32(SKB.ifindex, options.ifindex ?? 0, LITTLE);
  const dataOut = new Uint8Array(packet.length + HEADROOM);
  const ctxOut = new Uint8Array(SKB.size);
  const { verdict, dataLength, durationNs } = progTestRun(progFd, {
    dataIn: new Uint8Array(packet),
    dataOut,
    ctxIn,
    ctxOut,
    repeat: options.repeat ?? 1,
  });
  const out = new DataView(ctxOut.buffer);
  return {
    verdict: verdict | 0,
    packet: dataOut.slice(0, dataLength),
    durationNs,
    mark: out.getUint32(SKB.mark, LITTLE),
    cb: [0, 1, 2, 3, 4].map((i) => out.getUint32(SKB.cb + 4 * i, LITTLE)),
  };
}
