/**
 * Maglev tables (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4): which
 * backend a client gets follows from the client alone, so that any node picks the same one, and few clients change theirs
 * when backends come or go. The program looks a client's hash up (bpf/lib/backend.h). Pure.
 */
import { MAGLEV_SLOTS } from "../abi/enums.ts";
import { joinHostPort } from "../net/host_port.ts";

/** A backend as the table sees it. */
export interface MaglevBackend {
  readonly addr: string;
  readonly port: number;
  /** Not negative; its share is its part of the sum. All 0: all the same. */
  readonly weight: number;
}

/** Positions of a table unless configured; good to a percent for 10 backends, to ten percent for 100. */
export const MAGLEV_SIZE = 1021;
/** The largest prime that fits into the node's configuration. */
const MAGLEV_MAX_SIZE = 65521;

/** A backend's permutation of the positions: where it begins and by how much it goes on. */
interface Candidate {
  readonly index: number;
  readonly name: string;
  readonly weight: number;
  at: number;
  readonly skip: number;
  /** The next turn that is its own, in units of the heaviest backend's weight. */
  due: number;
}

/**
 * The table: for each position the index of a backend in `backends`. The same on every node, whatever the order of the list:
 * backends differ by address and port. Empty without backends.
 *
 * @param size a prime; all nodes must have the same
 * @throws {RangeError} when `size` is no prime up to MAGLEV_MAX_SIZE, or there are more backends than positions
 */
export function maglevTable(backends: readonly MaglevBackend[], size = MAGLEV_SIZE): Uint16Array {
  if (!isPrime(size) || size > MAGLEV_MAX_SIZE) {
    throw new RangeError(`${size} positions: must be a prime up to ${MAGLEV_MAX_SIZE}`);
  }
  if (backends.length > size) {
    throw new RangeError(`${backends.length} backends do not fit into ${size} positions`);
  }
  const candidates = candidatesOf(backends, size);
  const table = new Uint16Array(candidates.length === 0 ? 0 : size);
  const taken = new Uint8Array(table.length);
  const heaviest = Math.max(...candidates.map(({ weight }) => weight));
  for (let filled = 0, turn = 1; filled < table.length; turn++) {
    for (const candidate of candidates) {
      // A backend of half the greatest weight takes every second turn.
      if (turn * candidate.weight < candidate.due) continue;
      candidate.due += heaviest;
      while (taken[candidate.at]) candidate.at = (candidate.at + candidate.skip) % size;
      taken[candidate.at] = 1;
      table[candidate.at] = candidate.index;
      if (++filled === table.length) break;
    }
  }
  return table;
}

/** Those that have a share, in an order that does not depend on the list's. */
function candidatesOf(backends: readonly MaglevBackend[], size: number): Candidate[] {
  const alike = backends.every(({ weight }) => weight === 0);
  return backends
    .map(({ addr, port, weight }, index) => {
      const name = joinHostPort(addr, port);
      const at = hash(name, 0x9747b28c) % size;
      const skip = hash(name, 0x5bd1e995) % (size - 1) + 1;
      const share = alike ? 1 : weight;
      return { index, name, weight: share, at, skip, due: share };
    })
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : a.index - b.index);
}

/** FNV-1a over the characters, finished as MurmurHash3 does, to 32 bits. */
function hash(text: string, seed: number): number {
  let value = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

function isPrime(value: number): boolean {
  if (!Number.isInteger(value) || value < 2) return false;
  for (let i = 2; i * i <= value; i++) if (value % i === 0) return false;
  return true;
}

/** Elements of the map `maglev` that a table takes. */
export function maglevElements(size: number): number {
  return Math.ceil(size / MAGLEV_SLOTS);
}

/** The table as values of the map `maglev`, in order: table `n` begins at element `n * maglevElements(size)`. */
export function* packMaglev(table: Uint16Array): Generator<{ backend: number[] }> {
  for (let at = 0; at < table.length; at += MAGLEV_SLOTS) {
    yield { backend: Array.from({ length: MAGLEV_SLOTS }, (_, i) => table[at + i] ?? 0) };
  }
}
