/**
 * The data plane in a box: the programs loaded once, maps that a test fills, packets that go in and what comes out. Maps
 * are not pinned, so nothing outlives the process.
 */
import assert from "node:assert/strict";
import { readArtifact } from "../../../src/bpf/artifacts.ts";
import { zero } from "../../../src/bpf/codec.ts";
import {
  type Endpoint,
  fragment,
  fragmentLoad,
  type MapName,
  maps,
  type NodeConfig,
  nodeConfig,
  type Remote,
  scarcePorts,
  SCOPE,
  SERVICE_FLAG,
  type Session,
  SESSION_FLAG,
  SESSION_ZONE,
  type SessionKey,
  type SessionLimits,
} from "../../../src/bpf/layout.ts";
import type { MapOf } from "../../../src/bpf/map.ts";
import { type LoadedObject, loadObject } from "../../../src/bpf/object.ts";
import type { DISPATCHER_PROGRAMS, PROGRAMS } from "../../../src/bpf/pins.ts";
import { type Reason, reasonIndex, reasons } from "../../../src/bpf/reasons.ts";
import { TC_ACT, testRun } from "../../../src/bpf/testrun.ts";
import { describe } from "./describe.ts";
import { type Addr, type Bytes, PROTO } from "./packet.ts";

/** Maps that tests overwrite and do not empty. */
const ARRAYS: ReadonlySet<string> = new Set([
  "monitor",
  "monitor_budget",
  ...[
    "backends",
    "config",
    "counters",
    "fragment_loads",
    "fragments",
    "maglev",
    "rates",
    "scarce_ports",
    "session_limits",
  ],
]);

/** MAC address of the host end of the pods' pairs. */
export const HOST_MAC = "0e:42:43:44:45:46";

/** The device that packets are on: the loopback of the machine, whose MAC address is all zeros. */
export const UPLINK = 1;

const VERDICT = { pass: TC_ACT.UNSPEC, drop: TC_ACT.SHOT, redirect: TC_ACT.REDIRECT } as const;

export type Program = typeof PROGRAMS[number] | typeof DISPATCHER_PROGRAMS[number];

/** The verdict that goes with each reason, as the names of reasons promise. */
function verdictOf(reason: Reason): keyof typeof VERDICT {
  if (reason.startsWith("drop_")) return "drop";
  const sent = /_(delivered|sent)$|^(rejected|replied|reported|refused|answered|echo)_/;
  return sent.test(reason) ? "redirect" : "pass";
}

/** A packet and what must become of it: the reason says by which verdict. */
interface Step {
  /** Default lbrp_from_pod. */
  program?: Program;
  packet: Bytes;
  /** Left out: the packet must come out as it went in; of a dropped one nothing is asked. */
  out?: Bytes;
  /** The one reason that must be counted. */
  reason: Reason;
  /** Events that must be counted besides, each once; left out: any. */
  events?: readonly Reason[];
  /** The packet was forwarded: the device that it came in by. */
  ingress?: number;
  /** skb->mark */
  mark?: number;
}

/** A backend as "10.0.0.1:80", with a weight as "10.0.0.1:80*3". */
export type BackendSpec = string;

/** 5-tuple of a session, "10.0.0.1:80" each. */
interface Tuple {
  src: Addr;
  dst: Addr;
  proto?: number;
  /** SESSION_ZONE */
  zone?: number;
}

type SessionEntry = [SessionKey, Session];

/** Both objects, and the table of sessions where that is not lbrp's. */
export type Load = (maxEntries: Partial<Record<MapName, number>>) => {
  lbrp: LoadedObject;
  dispatcher: LoadedObject;
  sessions?: MapOf<typeof maps.sessions>;
};

const loadSteady: Load = (maxEntries) => {
  const lbrp = loadObject(readArtifact("lbrp.bpf.o"), { maxEntries });
  return {
    lbrp,
    dispatcher: loadObject(readArtifact("k8sdispatcher.bpf.o"), { share: lbrp.maps }),
  };
};

export class World {
  /** Every packet that a program changed, with the test it came from. */
  readonly outputs: { test: string; packet: Bytes }[] = [];
  test = "";
  readonly #objects: readonly LoadedObject[];
  readonly #maps;
  #nextRun = 0;
  /** Whether there may be entries of fragments. */
  #fragments = false;

  constructor(maxEntries: Partial<Record<MapName, number>> = {}, load: Load = loadSteady) {
    const sizes = { backends: 4096, services: 1024, maglev: 1024, ...maxEntries };
    const { lbrp, dispatcher, sessions } = load(sizes);
    this.#objects = [lbrp, dispatcher];
    this.#maps = {
      services: lbrp.map(maps.services),
      backends: lbrp.map(maps.backends),
      sessions: sessions ?? lbrp.map(maps.sessions),
      assured: lbrp.map(maps.assured),
      session_limits: lbrp.map(maps.session_limits),
      sources: lbrp.map(maps.sources),
      endpoints: lbrp.map(maps.endpoints),
      pod_devices: lbrp.map(maps.pod_devices),
      rates: lbrp.map(maps.rates),
      host_ports: lbrp.map(maps.host_ports),
      fragments: lbrp.map(maps.fragments),
      fragment_loads: lbrp.map(maps.fragment_loads),
      held_fragments: lbrp.map(maps.held_fragments),
      config: lbrp.map(maps.config),
      counters: lbrp.map(maps.counters),
      affinity: lbrp.map(maps.affinity),
      affinity_proven: lbrp.map(maps.affinity_proven),
      shares: lbrp.map(maps.shares),
      scarce_ports: lbrp.map(maps.scarce_ports),
      monitor: lbrp.map(maps.monitor),
      monitor_budget: lbrp.map(maps.monitor_budget),
      monitor_shares: lbrp.map(maps.monitor_shares),
      maglev: lbrp.map(maps.maglev),
      remotes: lbrp.map(maps.remotes),
      uplinks: lbrp.map(maps.uplinks),
      node_addrs: lbrp.map(maps.node_addrs),
      vteps: lbrp.map(maps.vteps),
      no_masquerade: lbrp.map(maps.no_masquerade),
      source_ranges: lbrp.map(maps.source_ranges),
    };
  }

  get maps() {
    return this.#maps;
  }

  /** Empties everything but counters, for the next test. */
  clear(test: string): void {
    this.test = test;
    this.#nextRun = 0;
    for (const [name, target] of Object.entries(this.#maps)) {
      if (!ARRAYS.has(name)) target.deleteBatch(target.keys() as never);
    }
    this.#maps.config.set(0, zero(nodeConfig));
    this.limit({});
    this.rate(0);
    this.rate(0, 0);
    if (this.#fragments) this.#emptyFragments();
    this.forgetScarcePorts();
  }

  /** As if a while had gone by. */
  forgetScarcePorts(): void {
    const { scarce_ports: map } = this.#maps;
    map.setBatch(Array.from({ length: map.maxEntries }, (_, i) => [i, zero(scarcePorts)] as const));
  }

  /** Sets what one client may have; what is left out is the default. */
  limit({ flows = 0, ports = 0, capacity = 0 }: Partial<SessionLimits>): void {
    this.#maps.session_limits.set(0, { flows, ports, capacity, assured: 0 });
  }

  #emptyFragments(): void {
    const { fragments, fragment_loads } = this.#maps;
    const none = zero(fragment), idle = zero(fragmentLoad);
    fragments.setBatch(Array.from({ length: fragments.maxEntries }, (_, i) => [i, none] as const));
    for (const i of fragment_loads.keys()) fragment_loads.set(i, idle);
    this.#fragments = false;
  }

  /** Sets members of the node's configuration. */
  configure(change: Partial<NodeConfig>): void {
    this.#maps.config.set(0, { ...this.#maps.config.get(0)!, ...change });
  }

  /** Descriptor of a program. */
  fd(program: Program): number {
    const object = this.#objects.find(({ programs }) => programs.has(program))!;
    return object.program(program);
  }

  close(): void {
    for (const map of Object.values(this.#maps)) map.close();
    for (const object of this.#objects) object.close();
  }

  /**
   * A service port, e.g. `service("10.96.0.1:80", ["10.1.0.3:8080"])`, with its address entry. A second call moves it to
   * other backends, as an update does.
   */
  service(
    addr: Addr,
    backends: BackendSpec[],
    {
      proto = PROTO.TCP as number,
      id = 1,
      addressEntry = true,
      scope = SCOPE.CLUSTER as number,
      flags = 0,
      affinity = 0,
      table = 0,
    } = {},
  ): void {
    const first = this.#nextRun;
    this.#nextRun += backends.length;
    let total = 0;
    const weighted = backends.some((spec) => spec.includes("*"));
    for (const [i, spec] of backends.entries()) {
      const [target = "", weight = "1"] = spec.split("*");
      if (weighted) total += Number(weight);
      const { ip, port } = parse(target);
      this.#maps.backends.set(first + i, { addr: ip, port, flags: 0, weight_end: total });
    }
    const { ip, port } = parse(addr);
    const value = {
      id,
      first,
      count: backends.length,
      total_weight: total,
      affinity_seconds: affinity,
      flags,
      table,
    };
    this.#maps.services.set({ addr: ip, port, proto, scope }, value);
    if (!addressEntry) return;
    const key = { addr: ip, port: 0, proto: 0, scope };
    const none = { first: 0, count: 0, affinity_seconds: 0, flags: SERVICE_FLAG.ADDRESS };
    this.#maps.services.set(key, { ...value, ...none });
  }

  removeService(addr: Addr, proto: number = PROTO.TCP, scope: number = SCOPE.CLUSTER): void {
    const { ip, port } = parse(addr);
    this.#maps.services.deleteBatch([{ addr: ip, port, proto, scope }]);
  }

  /** A pod of this node. */
  endpoint(addr: string, mac: string, endpoint: Partial<Endpoint> = {}): void {
    const value = { ifindex: 1, mac, gateway: "0.0.0.0", ...endpoint };
    this.#maps.endpoints.set({ addr }, value);
  }

  /** The device that packets come from is that of the pod with this MAC address. */
  podDevice(mac: string, flags = 0): void {
    this.#maps.pod_devices.set({ ifindex: UPLINK }, { mac, flags, host_mac: HOST_MAC });
  }

  /** Its rate is limited, or not. @param flags RATE_FLAG */
  rate(flags: number, ifindex = UPLINK): void {
    this.#maps.rates.set(ifindex, { ifindex, flags });
  }

  /** How to reach the pods of another node. */
  remote(prefix: string, remote: Remote): void {
    const [addr = "", length] = prefix.split("/");
    this.#maps.remotes.set({ prefixlen: Number(length), addr }, remote);
  }

  /** Timeouts in seconds; those left out are the defaults. */
  timeouts(
    seconds: Partial<
      Record<"tcpNew" | "tcpEstablished" | "tcpClosing" | "tcpClosed" | "udp" | "icmp", number>
    >,
  ): void {
    const ns = (value = 0) => BigInt(Math.round(value * 1e9));
    this.configure({
      tcp_new_timeout: ns(seconds.tcpNew),
      tcp_established_timeout: ns(seconds.tcpEstablished),
      tcp_closing_timeout: ns(seconds.tcpClosing),
      tcp_closed_timeout: ns(seconds.tcpClosed),
      udp_timeout: ns(seconds.udp),
      icmp_timeout: ns(seconds.icmp),
    });
  }

  key({ src, dst, proto = PROTO.TCP, zone = SESSION_ZONE.SERVICE }: Tuple): SessionKey {
    const from = parse(src), to = parse(dst);
    const ports = { sport: from.port, dport: to.port };
    return { src: from.ip, dst: to.ip, ...ports, proto, zone };
  }

  session(tuple: Tuple): Session | undefined {
    return this.#maps.sessions.get(this.key(tuple));
  }

  /** Where a session sends its packets, "10.0.0.1:80". */
  target(tuple: Tuple): Addr | undefined {
    const session = this.session(tuple);
    return session && `${session.dst}:${session.dport}`;
  }

  /** Sets members of a session. */
  edit(tuple: Tuple, change: Partial<Session>): void {
    const session = this.session(tuple);
    assert(session, "no such session");
    this.#maps.sessions.set(this.key(tuple), { ...session, ...change });
  }

  /** Makes a session this many seconds older. */
  age(tuple: Tuple, seconds: number): void {
    const session = this.session(tuple);
    assert(session, "no such session");
    const last_seen = session.last_seen - BigInt(Math.round(seconds * 1e9));
    // On a machine that has not been up for so long the clock wraps, for the programs as well.
    this.edit(tuple, { last_seen: BigInt.asUintN(64, last_seen) });
  }

  sessions(): SessionEntry[] {
    return this.#maps.sessions.entries();
  }

  forwardSessions(): SessionEntry[] {
    return this.sessions().filter(([, session]) => !(session.flags & SESSION_FLAG.REPLY));
  }

  /** Runs a program over a packet, without asking anything of the result. */
  run(
    packet: Bytes,
    program: Step["program"] = "lbrp_from_pod",
    ifindex = UPLINK,
    { ingress = 0, mark = 0 }: Pick<Step, "ingress" | "mark"> = {},
  ) {
    this.#fragments ||= ((packet[20]! & 0x3f) | packet[21]!) !== 0;
    const result = testRun(this.fd(program ?? "lbrp_from_pod"), packet, { ifindex, ingress, mark });
    if (result.verdict !== VERDICT.drop && !equal(result.packet, packet)) {
      this.outputs.push({ test: this.test, packet: result.packet });
    }
    return result;
  }

  /** Runs a program over a packet and compares. */
  check(step: Step): void {
    const before = this.counters();
    const { verdict, packet } = this.run(step.packet, step.program, UPLINK, step);
    const counted = this.#counted(before);
    const names = Object.entries(VERDICT).find(([, value]) => value === verdict)?.[0] ?? verdict;
    const came = `\n  in   ${describe(step.packet)}\n  out  ${describe(packet)}` +
      `\n  counted ${counted.join(" ")}`;
    const wanted = verdictOf(step.reason);
    assert.equal(names, wanted, `verdict ${names}, expected ${wanted}${came}`);
    const own = counted.filter((name) => !name.startsWith("event_"));
    assert.deepEqual(own, [step.reason], `expected ${step.reason}${came}`);
    if (step.events) {
      const events = counted.filter((name) => name.startsWith("event_"));
      assert.deepEqual(events.sort(), [...step.events].sort(), `events${came}`);
    }
    if (wanted !== "drop") same(packet, step.out ?? step.packet, came);
  }

  /** Packets for each reason, over all CPUs. */
  counters(): bigint[] {
    return this.#maps.counters.range(0, reasons.length).map((cpus) =>
      cpus.reduce((sum, cpu) => sum + cpu.packets, 0n)
    );
  }

  counter(name: Reason): bigint {
    return this.counters()[reasonIndex(name)]!;
  }

  #counted(before: bigint[]): string[] {
    return this.counters().flatMap((value, i) =>
      Array.from({ length: Number(value - before[i]!) }, () => reasons[i]!.name)
    );
  }
}

function equal(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function same(actual: Bytes, expected: Bytes, came: string): void {
  let at = 0;
  while (at < expected.length && actual[at] === expected[at]) at++;
  if (at === expected.length && actual.length === expected.length) return;
  assert.fail(
    `differs from byte ${at} (lengths ${actual.length} and ${expected.length})${came}` +
      `\n  want ${describe(expected)}`,
  );
}

function parse(addr: Addr): { ip: string; port: number } {
  const [ip = "", port = "0"] = addr.split(":");
  return { ip, port: Number(port) };
}
