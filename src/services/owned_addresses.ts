/**
 * Addresses that belong to nodes, pods and the API server. Every user who may write a Service may name any of them as an
 * external IP, and would get what pods and nodes send there (CVE-2020-8554). Pure.
 */
import type { Node } from "../model/objects.ts";
import { readIpv4 } from "../net/ipv4.ts";
import { parseNetwork } from "../net/prefix.ts";

/** The Service of the API server's endpoints, which the API server writes itself. */
export const API_SERVICE = "default/kubernetes";

/** What a Node has. */
type Owned = Pick<Node, "name" | "internalIPs" | "podCIDRs">;

export class OwnedAddresses {
  /** InternalIPs of nodes. */
  readonly #addresses = new Owners<string>();
  /** podCIDRs by length, then by their first address. */
  readonly #networks = new Map<number, Owners<number>>();
  #apiServer: ReadonlySet<string> = new Set();

  /** Takes in how a Node is now, or that it is gone; returns whether it has other addresses than before. */
  node(before: Owned | undefined, after: Owned | undefined): boolean {
    const same = before?.internalIPs.join() === after?.internalIPs.join() &&
      before?.podCIDRs.join() === after?.podCIDRs.join();
    if (same) return false;
    if (before !== undefined) this.#forget(before);
    if (after !== undefined) this.#learn(after);
    return true;
  }

  /** Takes the addresses of the API server's endpoints; returns whether they are others than before. */
  apiServer(addresses: ReadonlySet<string>): boolean {
    if ([...addresses].join() === [...this.#apiServer].join()) return false;
    this.#apiServer = addresses;
    return true;
  }

  /** Whose address it is, for a message; undefined: none of these has it. */
  ownerOf(address: string): string | undefined {
    const node = this.#addresses.of(address);
    if (node !== undefined) return `node ${node}`;
    if (this.#apiServer.has(address)) return "the API server";
    const value = readIpv4(address);
    for (const [length, networks] of this.#networks) {
      const owner = networks.of(firstOf(value, length));
      if (owner !== undefined) return `the pods of node ${owner}`;
    }
    return undefined;
  }

  #learn({ name, internalIPs, podCIDRs }: Owned) {
    for (const address of internalIPs) this.#addresses.add(address, name);
    for (const [first, length] of networksOf(podCIDRs)) {
      let networks = this.#networks.get(length);
      if (networks === undefined) this.#networks.set(length, networks = new Owners());
      networks.add(first, name);
    }
  }

  #forget({ name, internalIPs, podCIDRs }: Owned) {
    for (const address of internalIPs) this.#addresses.delete(address, name);
    for (const [first, length] of networksOf(podCIDRs)) {
      this.#networks.get(length)?.delete(first, name);
    }
  }
}

/** Who has something; two Nodes may claim the same. */
class Owners<K> {
  readonly #names = new Map<K, readonly string[]>();

  of(key: K): string | undefined {
    return this.#names.get(key)?.[0];
  }

  add(key: K, name: string) {
    this.#names.set(key, [...this.#names.get(key) ?? [], name]);
  }

  delete(key: K, name: string) {
    const rest = this.#names.get(key)?.filter((one) => one !== name) ?? [];
    if (rest.length > 0) this.#names.set(key, rest);
    else this.#names.delete(key);
  }
}

/** What is no IPv4 prefix is left out; routing reports it. */
function networksOf(podCIDRs: readonly string[]): [first: number, length: number][] {
  return podCIDRs.flatMap((text) => {
    try {
      const { address, length } = parseNetwork(text, 4);
      return length === 0 ? [] : [[readIpv4(address), length] as [number, number]];
    } catch {
      return [];
    }
  });
}

const firstOf = (address: number, length: number) => (address & (-1 << (32 - length))) >>> 0;
