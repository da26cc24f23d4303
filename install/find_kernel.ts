/**
 * Finds pcnk in the kernel of this node, as steps that remove it: programs pinned below its bpffs, filters with its name,
 * routes with its protocol number, the overlay's device, the pods' bridge.
 */
import { listAttachments } from "../src/bpf/attach.ts";
import { listCgroupHooks } from "../src/bpf/cgroup.ts";
import { listPins } from "../src/bpf/pins.ts";
import { Routing } from "../src/agent/routing/routing.ts";
import { isBpffs, isCgroup2, OWN_CGROUP2 } from "../src/linux/mount.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import { TunnelNetlink } from "../src/linux/rtnetlink_tunnel.ts";
import { emptyPlan } from "../src/routing/plan.ts";
import type { RemovalStep } from "./removal.ts";
import { isThere } from "../src/node/files.ts";

/** The configured names of pcnk's directories and devices. */
export interface Places {
  bpffs: string;
  stateDir: string;
  bridge: string;
  /** Of the overlay. */
  device: string;
}

/** Programs go before the devices and routes that they send packets to. */
export function findInKernel({ bpffs, bridge, device }: Places): RemovalStep[] {
  using nl = RtNetlink.open();
  return [
    ...attachments(bpffs, nl),
    ...listCgroupHooks(bpffs).map((hook): RemovalStep => ({ do: "detach-cgroup", hook })),
    ...routing(device),
    ...devices(nl, bridge, device),
    ...pins(bpffs),
    ...(isCgroup2(OWN_CGROUP2) ? [{ do: "unmount", path: OWN_CGROUP2 } as const] : []),
  ];
}

function attachments(bpffs: string, nl: RtNetlink): RemovalStep[] {
  const names = new Map(nl.links().map(({ index, name }) => [index, name]));
  const found = listAttachments({ bpffs, nl });
  const name = (ifindex: number) => names.get(ifindex) ?? `device ${ifindex}`;
  const detached = found.map(({ ifindex, direction, name: program }): RemovalStep => ({
    do: "detach",
    ifindex,
    direction,
    device: name(ifindex),
    program,
  }));
  // A clsact qdisc without other filters was made for pcnk's.
  const own = new Set(found.filter(({ mode }) => mode === "clsact").map(({ ifindex }) => ifindex));
  const empty = [...own].filter((ifindex) => {
    const filters = (["ingress", "egress"] as const).flatMap((side) =>
      nl.filterList(ifindex, side)
    );
    return filters.length ===
      found.filter((one) => one.ifindex === ifindex && one.mode === "clsact").length;
  });
  return [
    ...detached,
    ...empty.map((ifindex): RemovalStep => ({
      do: "delete-clsact",
      ifindex,
      device: name(ifindex),
    })),
  ];
}

function routing(device: string): RemovalStep[] {
  using held = new Routing({ node: "", device });
  const { steps } = held.compare(emptyPlan());
  return steps.length === 0 ? [] : [{ do: "routing", steps }];
}

/** The pods' bridge, and overlay devices of former configurations: external ones with the address that only pcnk gives. */
function devices(nl: RtNetlink, bridge: string, overlay: string): RemovalStep[] {
  const found: RemovalStep[] = [];
  const link = nl.link(bridge);
  if (link?.kind === "bridge") {
    found.push({
      do: "delete-device",
      ifindex: link.index,
      device: bridge,
      why: "the pods' bridge",
    });
  }
  using tunnel = TunnelNetlink.open();
  for (const { index, name, external, mac } of tunnel.vxlans()) {
    if (name === overlay || !external || !mac.startsWith("02:70:")) continue;
    const why = "an overlay device of a former configuration";
    found.push({ do: "delete-device", ifindex: index, device: name, why });
  }
  return found;
}

/** Every pin below pcnk's three directories, of any version. */
function pins(bpffs: string): RemovalStep[] {
  if (!isBpffs(bpffs)) return [];
  const steps: RemovalStep[] = [];
  const parts = ["link", "prog", "map"].filter((part) => isThere(`${bpffs}/${part}`));
  for (const part of parts) {
    for (const name of listPins(`${bpffs}/${part}`)) {
      steps.push({ do: "remove-pin", path: `${bpffs}/${part}/${name}` });
    }
  }
  for (const part of parts) steps.push({ do: "remove-directory", path: `${bpffs}/${part}` });
  if (isMountPoint(bpffs)) steps.push({ do: "unmount", path: bpffs });
  steps.push({ do: "remove-directory", path: bpffs });
  return steps;
}

function isMountPoint(path: string): boolean {
  const lines = Deno.readTextFileSync("/proc/self/mountinfo").split("\n");
  return lines.some((line) => line.split(" ")[4] === path);
}
