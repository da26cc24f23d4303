/** Gives back what an attachment holds in the kernel. What is gone, or somebody else's by now, is left alone. */
import { detach } from "../src/bpf/attach.ts";
import type { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Attachment } from "../src/node/attachments.ts";
import type { Endpoints } from "./installed.ts";

/** Where programs and entries are. */
export interface Ground {
  bpffs: string;
  /** A connection in the node's namespace. */
  nl: RtNetlink;
  /** The map of pods; undefined where no data plane is installed. */
  endpoints: Endpoints | undefined;
}

/** Whether an entry of the map of pods is that attachment's, and not of a pod that was given the address later. */
export function owns(
  { hostIfindex, mac }: Pick<Attachment, "hostIfindex" | "mac">,
  entry: { ifindex: number; mac: string },
): boolean {
  return entry.ifindex === hostIfindex && entry.mac === mac;
}

/** Takes an attachment out of the kernel, as far as it is there. */
export function release(ground: Ground, attachment: Attachment): void {
  releaseAddresses(ground, attachment, attachment.addresses);
  const device = ground.nl.link(attachment.hostIfindex);
  // A device that only has the index of the old one, after the node started anew.
  if (device && device.name !== attachment.hostIfname) return;
  releasePrograms(ground, attachment.hostIfindex);
}

/** Removes the entries of some addresses, as far as they are the attachment's. */
export function releaseAddresses(
  { endpoints }: Ground,
  attachment: Attachment,
  addresses: Attachment["addresses"],
): void {
  if (!endpoints) return;
  for (const { address: addr } of addresses) {
    const entry = endpoints.get({ addr });
    if (entry && owns(attachment, entry)) endpoints.delete({ addr });
  }
}

/** Takes pcnk's programs off a device; false when there were none. The device may be gone. */
export function releasePrograms({ bpffs, nl }: Ground, ifindex: number): boolean {
  const ingress = detach({ bpffs, nl, ifindex, direction: "ingress" });
  return detach({ bpffs, nl, ifindex, direction: "egress" }) || ingress;
}
