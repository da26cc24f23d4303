/**
 * Addresses in use are never given to another pod. In use is what the record of a pod names, and what a network namespace behind
 * a veth of this node has: of pods whose records an uninstallation or a hand removed, too. host-local knows addresses by the
 * files in its store; where one is missing, it is written in host-local's own format, under its lock.
 *
 * Limitation: the store of the agent's own CNI configuration; for others, ADD refuses an address that is in use (cni/add.ts).
 */
import { parseNetwork, type Prefix } from "../net/prefix.ts";
import { SyscallError } from "../linux/libc.ts";
import type { Link } from "../linux/rtnetlink.ts";
import type { Attachment } from "../node/attachments.ts";
import type { Fault, NodeState } from "./fault.ts";
import { podName } from "./pods.ts";
import { cachedNames, list, NETWORK, UNKNOWN, unrecorded } from "./records.ts";

/** An address that a pod without a record has. */
interface Stray {
  address: string;
  device: string;
}

/** Pods that pcnk has no record of, and pods outside of the node's podCIDR: both must be made again. */
export function strayFaults(node: NodeState): Fault[] {
  const strays = findStrays(node);
  const names = strays.length === 0 ? new Map<string, string>() : cachedNames();
  const lost = strays.map(({ address, device }): Fault => {
    const pod = names.get(address);
    return {
      object: `pod at ${address}`,
      ofPod: true,
      text:
        `${
          pod === undefined ? "a pod" : `the pod ${pod}`
        } with the address ${address} (device ${device}) is ` +
        "not attached any more: it has no network",
      next: pod === undefined
        ? `find it: kubectl get pods -A -o wide | grep ${address}; delete it, so that it is made again`
        : `kubectl delete pod -n ${pod.replace("/", " ")}`,
    };
  });
  return [...lost, ...outsideFaults(node)];
}

/** A Node's podCIDR changed: other nodes do not reach its pods by their former addresses. */
function outsideFaults({ records, objects: { podCIDR, cniConfDir }, nl }: NodeState): Fault[] {
  if (podCIDR === undefined || cniConfDir === undefined) return [];
  const prefix = parseNetwork(podCIDR, 4);
  const own = records.filter(({ network, hostIfindex, addresses }) =>
    network === NETWORK && addresses.some(({ address }) => !prefix.contains(address)) &&
    nl.link(hostIfindex) !== undefined
  );
  return own.map((record): Fault => ({
    object: `podCIDR of ${record.containerID}`,
    ofPod: true,
    text:
      `pod ${
        podName(record)
      } has an address outside of the node's podCIDR ${podCIDR}: other nodes do ` +
      "not reach it",
    next: `delete the pod ${record.pod ?? ""}, so that it gets an address of ${podCIDR}`,
  }));
}

/** Reservations that host-local's store lacks. */
export function leaseFaults(node: NodeState): Fault[] {
  const store = storeOf(node);
  if (store === undefined) return [];
  const { dir, prefix, used } = store;
  const held = new Set(list(dir));
  const missing = [...used].filter(([address]) => prefix.contains(address) && !held.has(address));
  const stale = [...held].filter((name) => !used.has(name) && isReservation(`${dir}/${name}`));
  if (missing.length + stale.length === 0) return [];
  const addresses = missing.map(([address]) => address).join(", ");
  const text = missing.length === 0
    ? `${dir} reserves addresses that are free again: ${stale.join(", ")}`
    : `${dir} has no reservation of addresses in use, ${addresses}: another pod could get them`;
  const mend = () => reserve(dir, missing, stale);
  return [{ object: `addresses in ${dir}`, text, next: `check that ${dir} can be written`, mend }];
}

/** A store of host-local, and who uses which address of it. */
interface Store {
  dir: string;
  prefix: Prefix;
  /** The content of each address's file. */
  used: Map<string, string>;
}

function storeOf(node: NodeState): Store | undefined {
  const { stateDir, records, objects: { podCIDR } } = node;
  if (podCIDR === undefined) return undefined;
  const prefix = parseNetwork(podCIDR, 4);
  const used = new Map<string, string>();
  const unnamed = [...findStrays(node), ...unrecorded(node).flatMap(({ addresses }) => addresses)];
  for (const { address } of unnamed) used.set(address, `${UNKNOWN}\r\neth0`);
  const devices = new Map(node.links().map(({ index, name }) => [index, name]));
  for (const record of records) {
    const { network, hostIfindex, hostIfname } = record;
    if (network !== NETWORK || devices.get(hostIfindex) !== hostIfname) continue;
    const { containerID, ifname, addresses } = record;
    for (const { address } of addresses) used.set(address, `${containerID}\r\n${ifname}`);
  }
  return { dir: `${stateDir}/ipam/${NETWORK}`, prefix, used };
}

/** Writes and removes files of the store, as host-local does: under flock(2) of its file `lock`. */
function reserve(dir: string, missing: readonly [string, string][], stale: readonly string[]) {
  Deno.mkdirSync(dir, { recursive: true, mode: 0o755 });
  using lock = Deno.openSync(`${dir}/lock`, { read: true, write: true, create: true, mode: 0o600 });
  lock.lockSync(true);
  for (const [address, content] of missing) {
    try {
      Deno.writeTextFileSync(`${dir}/${address}`, content, { createNew: true, mode: 0o644 });
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
  for (const name of stale) if (isReservation(`${dir}/${name}`)) Deno.removeSync(`${dir}/${name}`);
}

function isReservation(path: string): boolean {
  if (!/\/[0-9.]+$/.test(path)) return false;
  try {
    return Deno.readTextFileSync(path).startsWith(UNKNOWN);
  } catch {
    return false;
  }
}

/** Namespaces behind veths without a record, whose device is no other bridge's port, with an address of the podCIDR. */
function findStrays(node: NodeState): Stray[] {
  const { nl, links: all, records, objects } = node;
  const { podCIDR, bridge } = objects;
  if (podCIDR === undefined) return [];
  const prefix = parseNetwork(podCIDR, 4);
  const known = new Set([
    ...records.map(({ hostIfindex }: Attachment) => hostIfindex),
    ...unrecorded(node).map(({ link }) => link.index),
  ]);
  const links = all();
  const own = links.find(({ name }) => name === bridge)?.index;
  return links.filter((link) => isCandidate(link, own) && !known.has(link.index))
    .flatMap(({ name, peerNetnsId }) =>
      addressesIn(nl, peerNetnsId!).filter((address) => prefix.contains(address))
        .map((address) => ({ address, device: name }))
    );
}

function isCandidate({ kind, master, peerNetnsId }: Link, bridge: number | undefined): boolean {
  return kind === "veth" && peerNetnsId !== undefined &&
    (master === undefined || master === bridge);
}

function addressesIn(nl: NodeState["nl"], netnsId: number): string[] {
  try {
    return nl.addrsIn(netnsId).map(({ address }) => address);
  } catch (error) {
    if (error instanceof SyscallError) return []; // the namespace has just gone
    throw error;
  }
}
