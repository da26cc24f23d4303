/** Releases what an attachment holds in the kernel. What is gone, or belongs to another attachment by now, stays. */
import { detach } from "../src/bpf/attach.ts";
import { maps } from "../src/bpf/layout.ts";
import { type MapOf, openMap } from "../src/bpf/map.ts";
import { tryOpenVersion } from "../src/bpf/map_versions.ts";
import { SchemaError } from "../src/bpf/schema.ts";
import { openPort } from "../src/bpf/segment.ts";
import type { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Attachment } from "../src/node/attachments.ts";
import { releaseHostPorts } from "./host_ports.ts";
import type { Endpoints } from "./installed.ts";
import { endSessions } from "./pod_sessions.ts";

/** Handles of the node's programs and entries. */
export interface Handles {
  bpffs: string;
  /** In the node's network namespace. */
  nl: RtNetlink;
  /** The map of pods; undefined where no data plane is installed. */
  endpoints: Endpoints | undefined;
}

/** Whether an entry is that attachment's, and not of a pod that has the address now. */
export function owns(
  { hostIfindex, mac }: Pick<Attachment, "hostIfindex" | "mac">,
  entry: { ifindex: number; mac: string },
): boolean {
  return entry.ifindex === hostIfindex && entry.mac === mac;
}

/** Removes an attachment's entries and programs, as far as they are there. */
export function release(handles: Handles, attachment: Attachment): void {
  releaseAddresses(handles, attachment, attachment.addresses);
  releaseDevice(handles.bpffs, attachment);
  const device = handles.nl.link(attachment.hostIfindex);
  // After a reboot another device may have the index.
  if (device && device.name !== attachment.hostIfname) return;
  if (device) openPort(handles.nl, device, attachment.mac);
  releasePrograms(handles, attachment.hostIfindex);
}

/** Releases some addresses, but for those that another attachment has by now. */
export function releaseAddresses(
  handles: Handles,
  attachment: Attachment,
  addresses: Attachment["addresses"],
): void {
  const own = addresses.map(({ address }) => address).filter((addr) => {
    const entry = handles.endpoints?.get({ addr });
    return !entry || owns(attachment, entry);
  });
  releaseAll(handles, own);
}

/** Removes all that leads to some addresses. Returns whether there were entries of pods. */
export function releaseAll({ bpffs, endpoints }: Handles, addresses: readonly string[]): boolean {
  if (!endpoints || addresses.length === 0) return false;
  for (const address of addresses) releaseHostPorts(bpffs, address);
  const deleted = addresses.filter((addr) => endpoints.delete({ addr }));
  endSessions(bpffs, addresses);
  return deleted.length > 0;
}

/** The map of pods' devices; undefined where no data plane is installed, or that of another release, whose agent keeps it. */
export function openPodDevices(bpffs: string): MapOf<typeof maps.pod_devices> | undefined {
  try {
    const fd = tryOpenVersion(bpffs, "pod_devices");
    return fd === undefined ? undefined : openMap(fd, maps.pod_devices);
  } catch (error) {
    if (error instanceof SchemaError) return undefined;
    throw error;
  }
}

/** Removes the entry of an attachment's device, unless it is another's by now. */
function releaseDevice(
  bpffs: string,
  { hostIfindex: ifindex, mac }: Pick<Attachment, "hostIfindex" | "mac">,
): void {
  using devices = openPodDevices(bpffs);
  if (devices?.get({ ifindex })?.mac === mac) devices.delete({ ifindex });
}

/** Detaches pcnk's programs from a device; false when there were none. The device may be gone. */
export function releasePrograms({ bpffs, nl }: Handles, ifindex: number): boolean {
  const ingress = detach({ bpffs, nl, ifindex, direction: "ingress" });
  return detach({ bpffs, nl, ifindex, direction: "egress" }) || ingress;
}
