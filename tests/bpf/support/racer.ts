/**
 * A thread that runs a program over packets, each at the same moment as another thread: for `race()` of race_test.ts. The
 * first message starts it, its answer are the verdicts.
 */
/// <reference lib="deno.worker" />
import { testRun } from "../../../src/bpf/testrun.ts";

export interface Race {
  fd: number;
  ifindex: number;
  packets: Uint8Array[];
  /** How far both threads have come: one number each. */
  gate: SharedArrayBuffer;
  /** Which of the numbers is this thread's. */
  lane: number;
}

self.onmessage = ({ data }: MessageEvent<Race>) => {
  const { fd, ifindex, packets, gate, lane } = data;
  const places = new Int32Array(gate);
  const verdicts = packets.map((packet, i) => {
    Atomics.store(places, lane, i + 1);
    // Both threads are awake: waiting in the kernel would take longer than what is raced for.
    const until = Date.now() + 1000;
    while (Atomics.load(places, 1 - lane) < i + 1 && Date.now() < until);
    return testRun(fd, packet, { ifindex }).verdict;
  });
  self.postMessage(verdicts);
};
