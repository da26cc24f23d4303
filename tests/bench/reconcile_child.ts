/**
 * A process of its own for each run, as cold as an agent that has just started: cluster objects in, maps filled. Prints
 * one line of JSON. Arguments: bpffs, path of a network namespace.
 */
import process from "node:process";
import { Reconciler } from "../../src/agent/services/reconciler.ts";
import { createLog } from "../../src/agent/log.ts";
import type { DataPlaneMaps } from "../../src/bpf/dataplane.ts";
import { installDataPlane } from "../../src/bpf/install.ts";
import { SCOPE } from "../../src/bpf/layout.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { backendAddress, clusterIP, LARGE, serviceObject, sliceObject } from "./cluster.ts";

const UPDATES = 100;

/** What the process tells. Times in ms. */
export interface ReconcileFigures {
  load: number;
  updates: number[];
}

const TCP = 6;

/** @param args bpffs, network namespace */
async function main([bpffs, netns]: string[]): Promise<ReconcileFigures> {
  using nl = RtNetlink.open(netns);
  using plane = installDataPlane({ bpffs: bpffs!, nl });
  const { maps } = plane;
  const changes = Array.from({ length: LARGE.services }, (_, i) => [
    { type: "upsert", object: serviceObject(i) } as const,
    { type: "upsert", object: sliceObject(i, LARGE.backends) } as const,
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
  reconciler.start();
  const load = performance.now() - start;
  const entry = maps.services.get({
    addr: clusterIP(9999),
    port: 80,
    proto: TCP,
    scope: SCOPE.CLUSTER,
  });
  if (entry?.count !== LARGE.backends) throw new Error("the last service is not in the map");

  await pause(load * 1.5 + 20); // until the next round may begin at once
  const updates: number[] = [];
  for (let i = 0; i < UPDATES; i++) {
    const number = (i * 7919) % LARGE.services;
    const object = sliceObject(number, LARGE.backends, 1);
    const start = performance.now();
    reconciler.changes([{ type: "upsert", object }]);
    while (!holdsUpdate(maps, number)) await pause(0);
    updates.push(performance.now() - start);
    await pause(25); // rounds are 10 ms apart at least; this one is to begin at once
  }
  reconciler.stop();
  return { load, updates };
}

/** Whether the map has the backend that came with the update of service `i`. */
function holdsUpdate({ services, backends }: DataPlaneMaps, i: number): boolean {
  const key = { addr: clusterIP(i), port: 80, proto: TCP, scope: SCOPE.CLUSTER };
  const { first, count } = services.get(key)!;
  return backends.range(first, count).some(({ addr }) => addr === backendAddress(i, 0, 1));
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

console.log(JSON.stringify(await main(process.argv.slice(2))));
