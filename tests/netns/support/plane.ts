/** A data plane in a test's network namespace, without an agent: programs are attached and maps filled by the test. */
import { attach, type AttachMode } from "../../../src/bpf/attach.ts";
import type { DataPlane } from "../../../src/bpf/dataplane.ts";
import { installDataPlane, type InstallOptions } from "../../../src/bpf/install.ts";
import type { Service } from "../../../src/bpf/layout.ts";
import { type Reason, reasonIndex } from "../../../src/bpf/reasons.ts";
import { withNetns } from "../../../src/linux/netns.ts";
import type { Sandbox, TestNetns } from "../../support/sandbox.ts";
import { sharedPlane } from "./shared_plane.ts";

export type Proto = "tcp" | "udp";

/** IP protocol numbers (IANA). */
export const NUMBER: Record<Proto, number> = { tcp: 6, udp: 17 };

export const EVERYWHERE = "0.0.0.0/0";

/** A key of the map `services`. */
type Frontend = { addr: string; port: number; scope: number };

export class Plane {
  readonly bpffs: string;
  readonly dataPlane: DataPlane;
  #nextRun = 0;
  #nextId = 1;

  constructor(
    sandbox: Sandbox,
    private readonly netns: TestNetns,
    private readonly mode: AttachMode = "auto",
    install: (options: InstallOptions) => DataPlane = installDataPlane,
  ) {
    const mapSizes = { sessions: 4096, backends: 4096, services: 256, endpoints: 64 };
    const bpffs = install === sharedPlane ? "" : sandbox.bpffs();
    this.dataPlane = install({ bpffs, nl: netns.nl, mapSizes });
    this.bpffs = this.dataPlane.bpffs;
    sandbox.defer(() => this.dataPlane.close());
  }

  get maps() {
    return this.dataPlane.maps;
  }

  /** Makes the bridge of the pods, with its program. */
  bridge(gateway: string, mtu = 1500): number {
    const { nl } = this.netns;
    nl.addLink({ kind: "bridge", name: "pcnk0" });
    const ifindex = nl.link("pcnk0")!.index;
    nl.setLink(ifindex, { up: true, mtu });
    nl.addAddr({ ifindex, address: gateway, prefixLength: 24 });
    this.attach(ifindex, "egress", "lbrp_to_pod");
    return ifindex;
  }

  attach(ifindex: number, direction: "ingress" | "egress", name: string): void {
    const { bpffs, mode, netns: { nl, path } } = this;
    const programFd = this.dataPlane.programFd(name);
    withNetns(path, () => attach({ bpffs, ifindex, direction, nl, programFd, name, mode }));
  }

  /** Makes a namespace a pod: its veth has the program, the map knows it. Returns its MAC address. */
  endpoint(pod: TestNetns, addr: string, ifindex: number, gateway: string): string {
    const { mac } = pod.nl.link("eth0")!;
    this.attach(ifindex, "ingress", "lbrp_from_pod");
    this.maps.endpoints.set({ addr }, { ifindex, mac, gateway });
    return mac;
  }

  /** Writes backends ("10.244.1.2:8080") and the frontends that use them. */
  serve(
    frontends: readonly Frontend[],
    proto: Proto,
    backends: readonly string[],
    change: Partial<Service> = {},
  ): void {
    const first = this.#nextRun;
    this.#nextRun += backends.length;
    this.maps.backends.setBatch(backends.map((backend, i) => {
      const [addr = "", port = "0"] = backend.split(":");
      return [first + i, { addr, port: Number(port), flags: 0, weight_end: 0 }];
    }));
    const none = { total_weight: 0, affinity_seconds: 0, flags: 0, table: 0 };
    const id = this.#nextId++;
    for (const frontend of frontends) {
      const key = { ...frontend, proto: NUMBER[proto] };
      const known = this.maps.services.get(key)?.id ?? id;
      const value = { id: known, first, count: backends.length, ...none, ...change };
      this.maps.services.set(key, value);
    }
  }

  /** Notes that a service has this address: its other ports are refused. */
  serviceAddress({ addr, scope }: Omit<Frontend, "port">): void {
    const none = { first: 0, count: 0, total_weight: 0, affinity_seconds: 0, table: 0 };
    this.maps.services.set({ addr, port: 0, proto: 0, scope }, { id: 901, ...none, flags: 1 });
  }

  /** Packets counted for a reason. */
  counter(reason: Reason): number {
    const cpus = this.maps.counters.get(reasonIndex(reason)) ?? [];
    return Number(cpus.reduce((sum, { packets }) => sum + packets, 0n));
  }

  /** Counts a reason while something happens. */
  async counting(reason: Reason, work: () => Promise<void>): Promise<number> {
    const before = this.counter(reason);
    await work();
    return this.counter(reason) - before;
  }
}
