/**
 * A node with pods, made of namespaces:
 *
 *   client 10.1.0.2 ─ veth ─┐
 *   server 10.1.0.3 ─ veth ─┤ bridge pcnk0 10.1.0.1 ─ node ── router ── router ── remote 10.2.0.5
 *   single 10.3.0.2 ─ veth, no bridge ───────────────┘
 *
 * The way between the routers has an MTU of 1300, those at both ends 1500. lbrp is attached as the agent and the plugin do it.
 */
import { attach, type AttachMode } from "../../../src/bpf/attach.ts";
import type { DataPlane } from "../../../src/bpf/dataplane.ts";
import { installDataPlane } from "../../../src/bpf/install.ts";
import { SCOPE } from "../../../src/bpf/layout.ts";
import { type Reason, reasonIndex } from "../../../src/bpf/reasons.ts";
import { closeFd, openFile } from "../../../src/linux/libc.ts";
import { withNetns } from "../../../src/linux/netns.ts";
import { writeSysctl } from "../../../src/linux/sysctl.ts";
import { Sandbox, type TestNetns } from "../../support/sandbox.ts";

export const PYTHON = "/usr/bin/python3";
const SCRIPT = `${import.meta.dirname}/traffic.py`;

export const GATEWAY = "10.1.0.1";
export const REMOTE = "10.2.0.5";
/** MTU of the narrowest hop to the remote pod. */
export const SMALL_MTU = 1300;
const EVERYWHERE = "0.0.0.0/0";

/** What a client of traffic.py saw. */
export interface Seen {
  ok: boolean;
  error?: string | null;
  /** The client as the server saw it, of a ping the one who answered. */
  peer?: string;
  /** The client as it sees itself. */
  local?: string;
  mtu?: number;
}

/** A namespace with one address, or the node itself. */
export interface Host extends TestNetns {
  readonly addr: string;
  readonly mac: string;
}

/** The whole scene; `using` takes it away. */
export class TestNode {
  readonly sandbox = new Sandbox();
  readonly dataPlane: DataPlane;
  readonly self: TestNetns;
  readonly #servers: Deno.ChildProcess[] = [];
  readonly #bpffs: string;
  readonly #bridge: number;
  #nextRun = 0;
  #nextId = 1;

  constructor(readonly mode: AttachMode) {
    try {
      this.self = this.sandbox.netns();
      this.#bpffs = this.sandbox.bpffs();
      writeSysctl("net.ipv4.ip_forward", "1", this.self.path);
      const mapSizes = { sessions: 4096, backends: 1024, services: 256, endpoints: 64 };
      this.dataPlane = installDataPlane({ bpffs: this.#bpffs, nl: this.self.nl, mapSizes });
      this.sandbox.defer(() => this.dataPlane.close());
      this.self.nl.addLink({ kind: "bridge", name: "pcnk0" });
      this.#bridge = this.self.nl.link("pcnk0")!.index;
      this.self.nl.setLink(this.#bridge, { up: true });
      this.#address(this.self, this.#bridge, GATEWAY, 24);
      this.#attach(this.#bridge, "egress", "lbrp_to_pod");
    } catch (error) {
      this.sandbox[Symbol.dispose]();
      throw error;
    }
  }

  #address(host: TestNetns, ifindex: number, address: string, prefixLength: number): void {
    host.nl.addAddr({ ifindex, address, prefixLength });
  }

  #attach(ifindex: number, direction: "ingress" | "egress", name: string): void {
    const programFd = this.dataPlane.programFd(name);
    const hook = { bpffs: this.#bpffs, ifindex, direction, nl: this.self.nl };
    withNetns(this.self.path, () => attach({ ...hook, programFd, name, mode: this.mode }));
  }

  /** A pod on the bridge. */
  pod(addr: string): Host {
    const netns = this.sandbox.netns();
    const name = `veth${addr.split(".").pop()}`;
    const [outside, inside] = veth(this.self, netns, name);
    this.self.nl.setLink(outside, { master: this.#bridge });
    this.#address(netns, inside, addr, 24);
    netns.nl.addRoute({ destination: EVERYWHERE, gateway: GATEWAY, ifindex: inside });
    return this.#endpoint(netns, inside, outside, addr, GATEWAY);
  }

  /** A pod behind a veth of its own, as the ptp plugin makes it. */
  single(addr: string, gateway: string): Host {
    const netns = this.sandbox.netns();
    const [outside, inside] = veth(this.self, netns, "ptp0");
    this.#address(this.self, outside, gateway, 32);
    this.#address(netns, inside, addr, 32);
    const local = { scope: 253, ifindex: inside };
    netns.nl.addRoute({ destination: `${gateway}/32`, ...local });
    netns.nl.addRoute({ destination: EVERYWHERE, gateway, ifindex: inside });
    this.self.nl.addRoute({ destination: `${addr}/32`, scope: 253, ifindex: outside });
    this.#attach(outside, "egress", "lbrp_to_pod");
    return this.#endpoint(netns, inside, outside, addr, gateway);
  }

  /** A host behind a pod that forwards, e.g. a virtual machine in it. */
  behind(pod: Host, addr: string, gateway: string): TestNetns {
    const netns = this.sandbox.netns();
    const [outside, inside] = veth(pod, netns, "inner0");
    this.#address(pod, outside, gateway, 24);
    this.#address(netns, inside, addr, 24);
    netns.nl.addRoute({ destination: EVERYWHERE, gateway });
    writeSysctl("net.ipv4.ip_forward", "1", pod.path);
    this.self.nl.addRoute({ destination: `${addr}/32`, gateway: pod.addr });
    return netns;
  }

  #endpoint(
    netns: TestNetns,
    inside: number,
    ifindex: number,
    addr: string,
    gateway: string,
  ): Host {
    const { mac } = netns.nl.link(inside)!;
    this.#attach(ifindex, "ingress", "lbrp_from_pod");
    this.dataPlane.maps.endpoints.set({ addr }, { ifindex, mac, gateway });
    return { ...netns, addr, mac };
  }

  /** The remote pod, with the routers before it. */
  remote(): Host {
    const near = this.sandbox.netns();
    const far = this.sandbox.netns();
    const pod = this.sandbox.netns();
    const hops = [
      [this.self, near, "uplink", "192.0.2.1", "192.0.2.2"],
      [near, far, "narrow", "192.0.2.5", "192.0.2.6"],
      [far, pod, "downlink", "10.2.0.1", REMOTE],
    ] as const;
    for (const [from, to, name, a, b] of hops) {
      const [outA, outB] = veth(from, to, name);
      const length = name === "downlink" ? 24 : 30;
      this.#address(from, outA, a, length);
      this.#address(to, outB, b, length);
      const mtu = name === "narrow" ? SMALL_MTU : 1500;
      from.nl.setLink(outA, { mtu });
      to.nl.setLink(outB, { mtu });
      from.nl.replaceRoute({
        destination: "10.2.0.0/24",
        ...(to === pod ? { ifindex: outA } : { gateway: b }),
      });
      to.nl.addRoute({ destination: EVERYWHERE, gateway: a });
      writeSysctl("net.ipv4.ip_forward", "1", to.path);
    }
    return { ...pod, addr: REMOTE, mac: "" };
  }

  /** A service with its backends as "10.1.0.3:8080". */
  service(addr: string, port: number, proto: "tcp" | "udp", backends: string[]): void {
    const { maps } = this.dataPlane;
    backends.forEach((backend, i) => {
      const [ip = "", to = "0"] = backend.split(":");
      maps.backends.set(this.#nextRun + i, { addr: ip, port: Number(to), flags: 0, weight_end: 0 });
    });
    const common = { id: this.#nextId++, total_weight: 0, affinity_seconds: 0, table: 0 };
    const run = { first: this.#nextRun, count: backends.length };
    const key = { addr, port, proto: proto === "tcp" ? 6 : 17, scope: SCOPE.CLUSTER };
    maps.services.set(key, { ...common, ...run, flags: 0 });
    const address = { ...common, first: 0, count: 0, flags: 1 };
    maps.services.set({ addr, port: 0, proto: 0, scope: SCOPE.CLUSTER }, address);
    this.#nextRun += backends.length;
  }

  /** Starts a server, of UDP on `count` ports; it is listening when this returns. */
  async serve(host: TestNetns, proto: "tcp" | "udp", port: number, count = 1): Promise<void> {
    const more = count > 1 ? [`${count}`] : [];
    const child = command(host, ["serve", proto, `${port}`, ...more]).spawn();
    this.#servers.push(child);
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    if (!new TextDecoder().decode(value).startsWith("ready")) {
      throw new Error("server has not started");
    }
  }

  /** Runs a client of traffic.py in a namespace. */
  async run(host: TestNetns, ...args: (string | number)[]): Promise<Seen> {
    const { stdout, stderr, success } = await command(host, args.map(String)).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return JSON.parse(new TextDecoder().decode(stdout));
  }

  /** Packets counted for a reason. */
  counter(reason: Reason): number {
    const cpus = this.dataPlane.maps.counters.get(reasonIndex(reason)) ?? [];
    return Number(cpus.reduce((sum, { packets }) => sum + packets, 0n));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      server.kill("SIGKILL");
      await server.stdout.cancel();
      await server.stderr.cancel();
      await server.status;
    }
    this.sandbox[Symbol.dispose]();
  }
}

/** A veth pair between two namespaces, named `name` in one and eth0 in the other; both indexes. */
function veth(a: TestNetns, b: TestNetns, name: string): [inA: number, inB: number] {
  const netnsFd = openFile(b.path);
  try {
    a.nl.addLink({ kind: "veth", name, up: true, peer: { name: "eth0", netnsFd } });
  } finally {
    closeFd(netnsFd);
  }
  const inB = b.nl.link("eth0")!.index;
  b.nl.setLink(inB, { up: true });
  return [a.nl.link(name)!.index, inB];
}

function command(host: TestNetns, args: string[]): Deno.Command {
  return new Deno.Command("nsenter", {
    args: [`--net=${host.path}`, PYTHON, SCRIPT, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}
