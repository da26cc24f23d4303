/** The lab's cluster objects as files that the agents watch, and waiting until the nodes' maps hold what the files say. */
import { setTimeout } from "node:timers/promises";
import { stringify } from "yaml";
import { backend, maps, SCOPE, service, serviceKey } from "../bpf/layout.ts";
import { BpfMap } from "../bpf/map.ts";
import { mapPin } from "../bpf/pins.ts";
import { replaceFile } from "../node/files.ts";
import {
  endpointSliceManifests,
  type LabService,
  labServices,
  type Manifest,
  nodeManifests,
  type PodAddress,
  SERVICE_PORT,
  serviceManifests,
} from "./manifests.ts";
import { tail } from "./agents.ts";
import { type NodePlan, SERVER_PORT } from "./plan.ts";
import { isAlive } from "./process.ts";
import type { LabStore } from "./state.ts";

/** Pods that have an address and a server that runs: what a readiness probe would find. */
export function readyPods(store: LabStore): PodAddress[] {
  return Object.values(store.state.pods)
    .filter(({ address, server }) => address !== "" && server !== undefined && isAlive(server));
}

/** Pods that have an address, ready or not. */
export function wiredPods(store: LabStore): PodAddress[] {
  return Object.values(store.state.pods).filter(({ address }) => address !== "");
}

/** Writes all manifests anew: what changed is seen by the agents at once. */
export function writeManifests(store: LabStore, pods: PodAddress[]): LabService[] {
  const services = labServices(store.plan, pods);
  writeManifest(store, "nodes", nodeManifests(store.plan));
  writeManifest(store, "services", serviceManifests(services));
  writeManifest(store, "endpointslices", endpointSliceManifests(services));
  return services;
}

/** Writes one manifest file, `NAME.yaml`, replacing it whole; a document for each object. */
export function writeManifest(store: LabStore, name: string, objects: Manifest[]): void {
  Deno.mkdirSync(store.plan.manifests, { recursive: true, mode: 0o700 });
  const text = objects.map((object) => stringify(object)).join("---\n");
  replaceFile(`${store.plan.manifests}/${name}.yaml`, text);
}

const SETTLE_MS = 60_000;

/** Maps have no event to wait for; a look costs some microseconds. */
const LOOK_EVERY_MS = 5;

/**
 * Waits until every node's maps hold these services with exactly these backends.
 *
 * @throws Error naming node and service when that does not happen in time.
 */
export async function settle(store: LabStore, services: LabService[], signal?: AbortSignal) {
  for (const node of store.plan.nodes) {
    let missing: string | undefined;
    const deadline = performance.now() + SETTLE_MS;
    while ((missing = firstMissing(node, services)) !== undefined) {
      if (performance.now() > deadline) {
        const what = `service ${missing} is not in the maps of ${node.name}`;
        throw new Error(`${what}; its agent's log ends:\n${tail(node.agentLog)}`);
      }
      await setTimeout(LOOK_EVERY_MS, undefined, { signal });
    }
  }
}

function firstMissing(node: NodePlan, services: LabService[]): string | undefined {
  const frontends = BpfMap.openPinned(mapPin(node.bpffs, maps.services.name), serviceKey, service);
  const runs = BpfMap.openPinned(
    mapPin(node.bpffs, maps.backends.name),
    maps.backends.key,
    backend,
  );
  try {
    return services.find((each) =>
      PROTOCOLS.some((proto) => !holds(frontends, runs, node, each, proto))
    )?.name;
  } finally {
    frontends.close();
    runs.close();
  }
}

/** NodePorts answer on every address of the node. */
const ANY_ADDRESS = "0.0.0.0";

/** IPPROTO_TCP, IPPROTO_UDP */
const PROTOCOLS = [6, 17];

type Frontends = BpfMap<Parameters<typeof serviceKey.encode>[0], ReturnType<typeof service.decode>>;
type Runs = BpfMap<number, ReturnType<typeof backend.decode>>;

function holds(frontends: Frontends, runs: Runs, at: NodePlan, each: LabService, proto: number) {
  return frontendsOf(at, each).every(({ backends, ...key }) => {
    const found = frontends.get({ ...key, proto });
    if (found === undefined || found.count !== backends.length) return false;
    const wanted = new Set(backends.map((pod) => pod.address));
    return runs.range(found.first, found.count)
      .every(({ addr, port }) => port === SERVER_PORT && wanted.has(addr));
  });
}

/** A node's frontends of a service, with their backends. */
function frontendsOf(node: NodePlan, { address, backends, nodePort, local }: LabService) {
  const inside = { addr: address, port: SERVICE_PORT, scope: SCOPE.CLUSTER, backends };
  if (nodePort === undefined) return [inside];
  const port = { addr: ANY_ADDRESS, port: nodePort };
  const here = local ? backends.filter((pod) => pod.node === node.name) : backends;
  return [
    inside,
    { ...port, scope: SCOPE.CLUSTER, backends },
    { ...port, scope: SCOPE.EXTERNAL, backends: here },
  ];
}
