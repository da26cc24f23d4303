/** For tests: maps that are filled one element at a time, and a naive reading of what they should hold. */
import type { EndpointSlice, Service } from "../model/objects.ts";
import type { ClusterState } from "../model/state.ts";
import { parseIpv4 } from "../model/ipv4.ts";
import type { MapWriter } from "./apply.ts";
import type { BackendEntry, ServiceEntry } from "./kernel.ts";
import { KernelState, toEntries } from "./kernel.ts";
import type { RunWrite, ServiceWrite } from "./plan.ts";

/** `addr:port weightEnd flags` of each backend, behind the entry's own properties. */
export type Contents = string;

export class SimulatedMaps implements MapWriter {
  readonly services = new Map<string, ServiceEntry>();
  readonly backends: BackendEntry[];
  writes = 0;
  /** Called after every single element that is written or deleted. */
  onStep: () => void = () => {};

  constructor(readonly capacity: { services: number; backends: number }) {
    this.backends = Array.from({ length: capacity.backends }, blank);
  }

  writeRuns(runs: readonly RunWrite[]) {
    for (const { first, backends } of runs) {
      let i = first;
      for (const entry of toEntries(backends)) {
        if (i >= this.capacity.backends) throw new Error("E2BIG");
        this.backends[i++] = { ...entry };
        this.step();
      }
    }
  }
  writeServices(services: readonly ServiceWrite[]) {
    for (const { key, entry } of services) {
      if (!this.services.has(key) && this.services.size >= this.capacity.services) {
        throw new Error("E2BIG");
      }
      this.services.set(key, { ...entry });
      this.step();
    }
  }
  deleteServices(keys: readonly string[]) {
    for (const key of keys) {
      this.services.delete(key);
      this.step();
    }
  }
  private step() {
    this.writes++;
    this.onStep();
  }

  /** What a program finds that has read `entry`. */
  contentsOf(entry: ServiceEntry): Contents {
    const run = Array.from(
      { length: entry.count },
      (_, i) => this.backends[entry.first + i] ?? blank(),
    );
    const list = run.map(({ addr, port, weightEnd, flags }) =>
      `${addr}:${port} ${weightEnd} ${flags}`
    );
    return [`${entry.totalWeight} ${entry.affinitySeconds} ${entry.flags}`, ...list].join(", ");
  }

  contents(): Map<string, Contents> {
    return new Map([...this.services].map(([key, entry]) => [key, this.contentsOf(entry)]));
  }

  /** A copy as an agent reads it at its start. */
  read(restMs: number): KernelState {
    const kernel = new KernelState(this.capacity, restMs);
    this.backends.forEach(({ addr, port, flags, weightEnd }, i) =>
      kernel.backends.setRaw(i, parseIpv4(addr)!, port, flags, weightEnd)
    );
    kernel.load([...this.services].map(([key, entry]) => [key, { ...entry }] as const));
    return kernel;
  }
}

function blank(): BackendEntry {
  return { addr: "0.0.0.0", port: 0, flags: 0, weightEnd: 0 };
}

/** What the maps should hold, worked out in the plainest way. */
export function naiveContents(state: ClusterState, nodeName: string): Map<string, Contents> {
  const result = new Map<string, Contents>();
  const services = [...state.services.values()].sort((a, b) =>
    (a.createdAt ?? Infinity) === (b.createdAt ?? Infinity)
      ? (a.name < b.name ? -1 : 1)
      : (a.createdAt ?? Infinity) - (b.createdAt ?? Infinity)
  );
  const owned = new Set<string>();
  for (const service of services) {
    if (service.type === "ExternalName" || service.headless) continue;
    for (const address of new Set(service.clusterIPs)) {
      if (owned.has(address)) continue;
      owned.add(address);
      result.set(`${address}:0/0/0`, "0 0 1");
      for (const port of service.ports) {
        if (port.protocol === "SCTP") continue;
        const key = `${address}:${port.port}/${port.protocol === "TCP" ? 6 : 17}/0`;
        const list = naiveBackends(state, service, port.name, port.protocol, nodeName);
        result.set(key, format(list, service.affinitySeconds));
      }
    }
  }
  return result;
}

interface NaiveBackend {
  addr: string;
  port: number;
  weight: number;
  terminating: boolean;
}

function naiveBackends(
  state: ClusterState,
  service: Service,
  name: string,
  protocol: string,
  nodeName: string,
): NaiveBackend[] {
  const key = `${service.namespace}/${service.name}`;
  const slices = state.slices.get(key);
  const groups: Pick<EndpointSlice, "ports" | "endpoints" | "weight">[] = slices
    ? [...slices.values()]
    : state.endpoints.get(key)?.subsets ?? [];
  const all = groups.flatMap((group) =>
    group.ports.filter((port) => port.name === name && port.protocol === protocol)
      .flatMap((port) =>
        group.endpoints.map((endpoint) => ({
          ...endpoint,
          port: port.port,
          weight: group.weight ?? service.weight ?? 1,
        }))
      )
  ).filter(({ nodeName: node }) =>
    service.internalTrafficPolicy === "Cluster" || node === nodeName
  );
  let taken = all.filter(({ ready }) => ready || service.publishNotReadyAddresses);
  if (taken.length === 0) {
    taken = all.filter(({ serving, terminating }) => serving && terminating);
  }
  const best = new Map<string, NaiveBackend>();
  for (const { address: addr, port, weight, terminating } of taken) {
    const found = best.get(`${addr}:${port}`);
    const better = found === undefined || (found.terminating && !terminating) ||
      (found.terminating === terminating && weight > found.weight);
    if (better) best.set(`${addr}:${port}`, { addr, port, weight, terminating });
  }
  const order = ({ addr, port }: NaiveBackend) =>
    [...addr.split("."), port].map((part) => String(part).padStart(5, "0")).join();
  return [...best.values()].sort((a, b) => order(a) < order(b) ? -1 : 1);
}

function format(list: NaiveBackend[], affinity: number): Contents {
  const weighted = new Set(list.map(({ weight }) => weight)).size > 1;
  let sum = 0;
  const backends = list.map(({ addr, port, weight, terminating }) =>
    `${addr}:${port} ${weighted ? sum += weight : 0} ${terminating ? 1 : 0}`
  );
  return [`${sum} ${affinity} 0`, ...backends].join(", ");
}
