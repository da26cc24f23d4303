/**
 * A node as the kernel shows it: pinned maps, devices, routes, and the records of CNI calls. Nothing here asks the agent, so
 * all of it works while none runs.
 */
import { type Attachment, listAttachments } from "../bpf/attach.ts";
import { type DataPlane, openDataPlane } from "../bpf/dataplane.ts";
import { NAME_KIND } from "../bpf/layout.ts";
import { mapPin } from "../bpf/pins.ts";
import { tryObjGet } from "../bpf/syscall.ts";
import { closeFd } from "../linux/libc.ts";
import { type Link, RtNetlink } from "../linux/rtnetlink.ts";
import { formatIpv4 } from "../net/ipv4.ts";
import { type Attachment as Pod, readAttachments } from "../node/attachments.ts";

/** Where a node has its things. */
export interface NodePlace {
  bpffs: string;
  stateDir: string;
}

/** Reads a node; what is asked for twice is read once. `close()` when done. */
export class NodeReader implements Disposable {
  readonly dataPlane: DataPlane;
  readonly nl: RtNetlink;
  #names: { ports: Map<number, string>; nodes: Map<string, string> } | undefined;
  #links: Map<number, Link> | undefined;
  #pods: Map<string, Pod> | undefined;
  #attachments: (Attachment & { name: string })[] | undefined;

  /** @throws {NotInstalledError} when no data plane is installed there */
  constructor(readonly place: NodePlace) {
    this.dataPlane = openDataPlane(place.bpffs);
    this.nl = RtNetlink.open();
  }

  get maps(): DataPlane["maps"] {
    return this.dataPlane.maps;
  }

  /** `namespace/name:port/TCP` by the id of a Service port; an id without a name is shown as one. */
  portName(id: number): string {
    return this.#readNames().ports.get(id) ?? `#${id}`;
  }

  /** The name of the node with this address; undefined when it has none. */
  nodeName(address: string): string | undefined {
    return this.#readNames().nodes.get(address);
  }

  #readNames() {
    return this.#names ??= readNames(this);
  }

  /** Devices by index. */
  get links(): ReadonlyMap<number, Link> {
    return this.#links ??= new Map(this.nl.links().map((link) => [link.index, link]));
  }

  /** The name of a device; `#7` when it is gone. */
  device(ifindex: number): string {
    return this.links.get(ifindex)?.name ?? `#${ifindex}`;
  }

  /** Pods of this node by their address. */
  get pods(): ReadonlyMap<string, Pod> {
    return this.#pods ??= readPods(this.place.stateDir);
  }

  /** The address of a pod by `name` or `namespace/name`; undefined: none of this node. */
  podAddress(name: string): string | undefined {
    const wanted = name.includes("/") ? name : `default/${name}`;
    return [...this.pods].find(([, { pod }]) => pod === wanted)?.[0];
  }

  /** Programs on devices. */
  get attachments(): readonly (Attachment & { name: string })[] {
    return this.#attachments ??= listAttachments({ bpffs: this.place.bpffs, nl: this.nl });
  }

  close(): void {
    this.dataPlane.close();
    this.nl.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

function readNames({ dataPlane, place }: NodeReader) {
  const ports = new Map<number, string>();
  const nodes = new Map<string, string>();
  const fd = tryObjGet(mapPin(place.bpffs, "names")); // an older agent's data plane has none
  if (fd === undefined) return { ports, nodes };
  closeFd(fd);
  for (const [{ kind, id }, { text }] of dataPlane.maps.names.entries()) {
    if (kind === NAME_KIND.SERVICE_PORT) ports.set(id, text);
    else if (kind === NAME_KIND.NODE) nodes.set(formatIpv4(id), text);
  }
  return { ports, nodes };
}

function readPods(stateDir: string): Map<string, Pod> {
  const pods = readAttachments(stateDir);
  return new Map(pods.flatMap((pod) => pod.addresses.map(({ address }) => [address, pod])));
}
