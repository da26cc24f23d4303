/**
 * A process of its own for each run, as cold as an agent that has just started: cluster objects in, maps filled. Prints
 * `ReconcileFigures`. Arguments: bpffs, path of a network namespace, numbers of services, of backends, and of updates.
 */
import process from "node:process";
import { createLog } from "../../src/agent/log.ts";
import { Reconciler } from "../../src/agent/services/reconciler.ts";
import { installDataPlane } from "../../src/bpf/install.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { backendAddress, backendsOf, serviceObject, sliceObject } from "./cluster.ts";
import { pause } from "./measure.ts";

/** Times in ms. */
export interface ReconcileFigures {
  load: number;
  updates: number[];
}

const [bpffs, netns, ...numbers] = process.argv.slice(2);
const [services, backends, updates] = numbers.map(Number) as [number, number, number];
/** How many service number `i` has; the first ones have one more where they do not divide. */
const count = (i: number) => Math.floor(backends / services) + (i < backends % services ? 1 : 0);
using nl = RtNetlink.open(netns);
using plane = installDataPlane({ bpffs: bpffs!, nl });
const { maps } = plane;
const changes = Array.from({ length: services }, (_, i) => [
  { type: "upsert", object: serviceObject(i) } as const,
  { type: "upsert", object: sliceObject(i, count(i)) } as const,
]).flat();
const reconciler = new Reconciler({
  maps,
  nodeName: "node0",
  log: createLog("error", "bench"),
  resyncMs: 3_600_000,
  complete: () => true,
});
const start = performance.now();
reconciler.changes(changes);
await reconciler.start();
const figures: ReconcileFigures = { load: performance.now() - start, updates: [] };
for (let i = 0; i < services; i++) {
  const found = backendsOf(maps, i).length;
  if (found !== count(i)) throw new Error(`service ${i} has ${found} backends in the map`);
}
await pause(figures.load * 1.5 + 20); // until the next sync may begin at once
for (let i = 0; i < updates; i++) {
  const number = (i * 7919) % services;
  const object = sliceObject(number, count(number), 1);
  const start = performance.now();
  reconciler.changes([{ type: "upsert", object }]);
  while (!backendsOf(maps, number).includes(backendAddress(number, 0, 1))) await pause(0);
  figures.updates.push(performance.now() - start);
  await pause(25); // syncs are 10 ms apart at least; this one is to begin at once
}
reconciler.stop();
console.log(JSON.stringify(figures));
