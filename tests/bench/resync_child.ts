/**
 * A fresh process: 5,006 services with 250,011 backends (the case of kubernetes#135639) from objects into the maps. Prints
 * the milliseconds. Arguments: bpffs, path of a network namespace.
 */
import process from "node:process";
import { createLog } from "../../src/agent/log.ts";
import { Reconciler } from "../../src/agent/services/reconciler.ts";
import { installDataPlane } from "../../src/bpf/install.ts";
import { SCOPE } from "../../src/bpf/layout.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { clusterIP, serviceObject, sliceObject } from "./cluster.ts";

const SERVICES = 5006, BACKENDS = 250_011;
const each = Math.floor(BACKENDS / SERVICES), rest = BACKENDS % SERVICES;
const [bpffs, netns] = process.argv.slice(2);
using nl = RtNetlink.open(netns);
using plane = installDataPlane({ bpffs: bpffs!, nl });
const backendsOf = (i: number) => i < rest ? each + 1 : each;
const changes = Array.from({ length: SERVICES }, (_, i) => [
  { type: "upsert", object: serviceObject(i) } as const,
  { type: "upsert", object: sliceObject(i, backendsOf(i)) } as const,
]).flat();
const reconciler = new Reconciler({
  maps: plane.maps,
  nodeName: "node0",
  log: createLog("error", "bench"),
  resyncMs: 3_600_000,
  complete: () => true,
});
const start = performance.now();
reconciler.changes(changes);
reconciler.start();
const ms = performance.now() - start;
reconciler.stop();
for (let i = 0; i < SERVICES; i++) {
  const key = { addr: clusterIP(i), port: 80, proto: 6, scope: SCOPE.CLUSTER };
  const count = plane.maps.services.get(key)?.count;
  if (count !== backendsOf(i)) throw new Error(`service ${i} has ${count} backends in the map`);
}
console.log(JSON.stringify(ms));
