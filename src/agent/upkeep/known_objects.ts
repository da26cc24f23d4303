/**
 * What the agent knows of the node's objects beyond settings: the bridge's addresses and its MAC address as pods know them. Kept
 * in the state directory, so that a restarted agent can make them again and `pcnk status` can compare without one.
 */
import type { RtNetlink } from "../../linux/rtnetlink.ts";
import { parseInterface, parseNetwork } from "../../net/prefix.ts";
import type { Change } from "../../model/state.ts";
import type { Attachment } from "../../node/attachments.ts";
import { isWhole, type NodeObjects, readState, writeState } from "../../node/state_files.ts";
import { heldAddresses } from "../../upkeep/bridge.ts";
import { defaultRoute } from "../../upkeep/paths.ts";

/** What the settings name. */
type Configured = Pick<
  NodeObjects,
  "bridge" | "cniConfDir" | "cniBinDir" | "overlayDevice" | "cgroup"
>;

export class KnownObjects {
  #objects: NodeObjects;
  readonly #stateDir: string;

  constructor(stateDir: string, configured: Configured) {
    this.#stateDir = stateDir;
    const former = readState(stateDir, "objects");
    const same = former?.bridge === configured.bridge ? former : undefined;
    this.#objects = {
      ...configured,
      bridgeMac: same?.bridgeMac,
      bridgeAddresses: same?.bridgeAddresses ?? [],
      podCIDR: former?.podCIDR,
    };
  }

  get objects(): NodeObjects {
    return this.#objects;
  }

  /** This node's podCIDR may have changed: new pods get the gateway of this one. */
  changes(changes: readonly Change[], nodeName: string) {
    for (const { type, object } of changes) {
      if (object.kind !== "Node" || object.name !== nodeName || type === "delete") continue;
      const podCIDR = object.podCIDRs[0] ?? this.#objects.podCIDR;
      this.#objects = { ...this.#objects, podCIDR };
    }
  }

  /** The cgroup that hostlb was attached to; undefined: to none. */
  set cgroup(cgroup: string | undefined) {
    this.#objects = { ...this.#objects, cgroup };
  }

  set podMtu(podMtu: number | undefined) {
    if (this.#objects.cniConfDir !== undefined) this.#objects = { ...this.#objects, podMtu };
  }

  /** Remembers what the node has, and may do without from its start on. @param address of the Node */
  see(nl: RtNetlink, address: string | undefined): void {
    const now: Pick<NodeObjects, "defaultRoute" | "nodeAddress"> = {};
    const route = defaultRoute(nl);
    if (route !== undefined) now.defaultRoute = route;
    const held = nl.addrs().some((one) => one.address === address);
    if (address !== undefined && held) now.nodeAddress = address;
    this.#objects = { ...this.#objects, ...now };
  }

  /** The addresses that the bridge must have: of new pods' gateway, then of the gateways of pods that run. */
  plan(records: readonly Attachment[]): void {
    const { podCIDR, cniConfDir, bridge, bridgeAddresses } = this.#objects;
    const gateways = new Set(
      records.filter((one) => one.bridge === bridge)
        .flatMap(({ addresses }) => addresses.map(({ gateway }) => gateway)),
    );
    // With another program's CNI configuration the gateway may be another address than the podCIDR's first.
    const first = podCIDR === undefined || cniConfDir === undefined || bridgeAddresses.length === 0
      ? []
      : [gatewayOf(podCIDR)];
    const inPodCIDR = podCIDR === undefined ? [] : [gatewayOf(podCIDR)];
    const kept = bridgeAddresses.filter((one) =>
      first.length === 0 || gateways.has(parseInterface(one, 4).address)
    );
    const ofPods = inPodCIDR.filter((one) => gateways.has(parseInterface(one, 4).address));
    this.#objects = {
      ...this.#objects,
      bridgeAddresses: [...new Set([...first, ...kept, ...ofPods])],
    };
  }

  /** Takes what a bridge without a fault has. */
  learn(nl: RtNetlink, records: readonly Attachment[]): void {
    const link = nl.link(this.#objects.bridge);
    const { podCIDR, bridgeAddresses } = this.#objects;
    if (link?.kind === "bridge") {
      const gateways = new Set(
        records.flatMap(({ addresses }) => addresses.map(({ gateway }) => gateway)),
      );
      if (podCIDR !== undefined) gateways.add(parseInterface(gatewayOf(podCIDR), 4).address);
      const own = heldAddresses(nl, link.index)
        .filter((one) => gateways.has(parseInterface(one, 4).address));
      const addresses = [...new Set([...bridgeAddresses, ...own])];
      // Before pods are on it, its address is that of whichever port came first. Later it may have been changed since the
      // bridge was checked.
      const { bridgeMac: known = link.mac } = this.#objects;
      const bridgeMac = addresses.length > 0 && records.length > 0 ? known : undefined;
      this.#objects = { ...this.#objects, bridgeMac, bridgeAddresses: addresses };
    }
  }

  /** Writes it to the state directory, unless it is there. */
  keep(): void {
    const { stateDir, objects } = { stateDir: this.#stateDir, objects: this.#objects };
    const same = JSON.stringify(objects) === this.#written && isWhole(stateDir, "objects");
    if (same) return;
    writeState(stateDir, "objects", objects);
    this.#written = JSON.stringify(objects);
  }
  #written = "";
}

/** The bridge plugin takes the first host address of the podCIDR. */
function gatewayOf(podCIDR: string): string {
  const prefix = parseNetwork(podCIDR, 4);
  return `${prefix.at(1)}/${prefix.length}`;
}
