/**
 * A process of its own for each run, as cold as an agent that has just started: cluster objects in, maps filled. Prints
 * one line of JSON. Arguments: bpffs, path of a network namespace.
 */
import process from "node:process";
import { Reconciler } from "../../src/agent/reconciler.ts";
import { createLog } from "../../src/agent/log.ts";
import { installDataPlane } from "../../src/bpf/install.ts";
import { SCOPE } from "../../src/bpf/layout.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { clusterIP, LARGE, serviceObject, sliceObject } from "./cluster.ts";
import { backendAddress } from "./cluster.ts";

const UPDATES = 200;

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
    updates.push(performance.now() - start);
    const key = { addr: clusterIP(number), port: 80, proto: TCP, scope: SCOPE.CLUSTER };
    const { first, count } = maps.services.get(key)!;
    const held = maps.backends.range(first, count).some(({ addr }) =>
      addr === backendAddress(number, 0, 1)
    );
    if (!held) throw new Error("changes() has returned before the map had the change");
    await pause(15);
  }
  reconciler.stop();
  return { load, updates };
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

console.log(JSON.stringify(await main(process.argv.slice(2))));
