/** A flood of UDP packets to port 9, from a thread of its own: see flood_worker.ts. */
import assert from "node:assert/strict";

/** Starts to send from a namespace to `address`; `stop()` tells how many packets left. */
export async function startFlood(netnsPath: string, address: string) {
  const worker = new Worker(new URL("./flood_worker.ts", import.meta.url), { type: "module" });
  const stop = new SharedArrayBuffer(4);
  const answer = () =>
    new Promise<unknown>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
    });
  const started = answer();
  worker.postMessage({ netnsPath, address, stop });
  assert.equal(await started, "started");
  const total = answer();
  return {
    async stop(): Promise<number> {
      Atomics.store(new Int32Array(stop), 0, 1);
      const sent = await total as number;
      worker.terminate();
      return sent;
    },
  };
}
