/**
 * Keeps the kernel from giving the node's own connections a port that pods are masqueraded with, or a NodePort: where
 * `snatPorts` and `serviceNodePortRange` meet net.ipv4.ip_local_port_range, the ports of both are added to
 * net.ipv4.ip_local_reserved_ports. The default ranges do not meet the kernel's, but a machine may be tuned
 * (`ip_local_port_range = 1024 65535`). NodePorts are not reserved where that would leave too few.
 */
import { readSysctl, writeSysctl } from "../../linux/sysctl.ts";
import { hasState, readState, removeState, writeState } from "../../node/state_files.ts";

const RANGE = "net.ipv4.ip_local_port_range";
const RESERVED_PORTS = "net.ipv4.ip_local_reserved_ports";
/** So many must be left. */
const LEAST = 1024;

interface Ports {
  first: number;
  last: number;
}

/** A set of ports, as the kernel writes it: `80,1000-1999`. */
export class PortSet {
  readonly #ports: ReadonlySet<number>;

  private constructor(ports: ReadonlySet<number>) {
    this.#ports = ports;
  }

  /** What is no port is left out. */
  static parse(text: string): PortSet {
    const ports = new Set<number>();
    for (const part of text.split(",")) {
      const [, first, last] = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part) ?? [];
      if (first === undefined) continue;
      for (let port = Number(first); port <= Math.min(Number(last ?? first), 65535); port++) {
        ports.add(port);
      }
    }
    return new PortSet(ports);
  }

  static of({ first, last }: Ports): PortSet {
    return PortSet.parse(`${first}-${last}`);
  }

  get size(): number {
    return this.#ports.size;
  }
  plus(other: PortSet): PortSet {
    return new PortSet(this.#ports.union(other.#ports));
  }
  minus(other: PortSet): PortSet {
    return new PortSet(this.#ports.difference(other.#ports));
  }
  both(other: PortSet): PortSet {
    return new PortSet(this.#ports.intersection(other.#ports));
  }

  toString(): string {
    const runs: Ports[] = [];
    for (const port of [...this.#ports].sort((a, b) => a - b)) {
      const run = runs.at(-1);
      if (run?.last === port - 1) run.last = port;
      else runs.push({ first: port, last: port });
    }
    return runs.map(({ first, last }) => first === last ? `${first}` : `${first}-${last}`).join();
  }
}

/** The ranges that are kept. */
interface Ranges {
  snatPorts: Ports;
  serviceNodePortRange: Ports;
}

/** What is to be done. */
interface Reservation {
  /** What ip_local_reserved_ports shall hold. */
  reserved: PortSet;
  /** The part of it that is pcnk's. */
  own: PortSet;
}

/**
 * Works it out: `own` is what was added before.
 * @throws Error when too few ports would be left for the node's own connections
 */
export function planReservation(
  { snatPorts, serviceNodePortRange }: Ranges,
  local: Ports,
  reserved: PortSet,
  own: PortSet,
): Reservation {
  const others = reserved.minus(own);
  const range = PortSet.of(local);
  const met = range.both(PortSet.of(snatPorts));
  const left = range.minus(others).minus(met).size;
  if (met.size > 0 && left < LEAST) {
    throw new Error(
      `snatPorts ${snatPorts.first}-${snatPorts.last} would leave the node's own connections ${left} ports of ` +
        `${RANGE} (${local.first}-${local.last}); choose ports outside of it, or widen it`,
    );
  }
  const nodePorts = range.both(PortSet.of(serviceNodePortRange)).minus(others).minus(met);
  const kept = left - nodePorts.size < LEAST ? met : met.plus(nodePorts);
  return { reserved: others.plus(kept), own: kept.minus(others) };
}

/**
 * Reserves the ports that both may take; returns what is new, as text, or undefined.
 * @throws Error see planReservation()
 */
export function reservePorts(ranges: Ranges, stateDir: string): string | undefined {
  const before = PortSet.parse(readSysctl(RESERVED_PORTS));
  const plan = planReservation(ranges, localRange(), before, ownPorts(stateDir));
  if (`${plan.reserved}` === `${before}`) return undefined;
  // On disk first: what is written here and not there is only not needed.
  writeState(stateDir, "reserved-ports", { ports: `${plan.own}` });
  writeSysctl(RESERVED_PORTS, `${plan.reserved}\n`);
  return `${plan.reserved.minus(before)}` || "none";
}

/**
 * Checks before anything is changed.
 * @throws Error see planReservation()
 */
export function checkPorts(ranges: Ranges, stateDir: string): void {
  planReservation(
    ranges,
    localRange(),
    PortSet.parse(readSysctl(RESERVED_PORTS)),
    ownPorts(stateDir),
  );
}

/** The parameters that a reservation depends on, to compare. */
export function portParameters(): string {
  return `${readSysctl(RANGE)} ${readSysctl(RESERVED_PORTS)}`;
}

/** The ports that `reservePorts()` added, as text; undefined when it has none on record. */
export function reservedByPcnk(stateDir: string): string | undefined {
  return hasState(stateDir, "reserved-ports") ? `${ownPorts(stateDir)}` : undefined;
}

/** Takes back what `reservePorts()` added. */
export function releasePorts(stateDir: string): void {
  const own = ownPorts(stateDir);
  if (own.size > 0) {
    writeSysctl(RESERVED_PORTS, `${PortSet.parse(readSysctl(RESERVED_PORTS)).minus(own)}\n`);
  }
  removeState(stateDir, "reserved-ports");
}

function localRange(): Ports {
  const [first = 0, last = 0] = readSysctl(RANGE).split(/\s+/).map(Number);
  return { first, last };
}

function ownPorts(stateDir: string): PortSet {
  return PortSet.parse(readState(stateDir, "reserved-ports")?.ports ?? "");
}
