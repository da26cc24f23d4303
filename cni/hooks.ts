/**
 * The two programs of a pod: `lbrp_from_pod` on what it sends, `lbrp_to_pod` on what the node's stack sends to it. The
 * second is on the bridge, where one serves all pods, or on the veth where there is no bridge.
 */
import { type AttachMode, attachPinned, detach, type Hook, isAttached } from "../src/bpf/attach.ts";
import type { DataPlane } from "../src/bpf/dataplane.ts";
import { progInfo } from "../src/bpf/syscall.ts";
import type { Link, RtNetlink } from "../src/linux/rtnetlink.ts";
import { readIfThere } from "./files.ts";
import { isObject } from "./json.ts";

/** A program and the hook it belongs on. */
export interface PlacedProgram {
  name: "lbrp_from_pod" | "lbrp_to_pod";
  hook: Hook;
  device: string;
}

/** Where the programs of the pod behind `host` belong, in the order in which they are put there. */
export function placePrograms(bpffs: string, nl: RtNetlink, host: Link): PlacedProgram[] {
  const master = host.master === undefined ? undefined : nl.link(host.master);
  const outlet = master?.kind === "bridge" ? master : host;
  return [
    {
      name: "lbrp_to_pod",
      hook: { bpffs, nl, ifindex: outlet.index, direction: "egress" },
      device: outlet.name,
    },
    {
      name: "lbrp_from_pod",
      hook: { bpffs, nl, ifindex: host.index, direction: "ingress" },
      device: host.name,
    },
  ];
}

/** Whether the pinned version of the program is on its hook. */
export function isInPlace(dataPlane: DataPlane, { name, hook }: PlacedProgram): boolean {
  return isAttached({ ...hook, programFd: dataPlane.programFd(name) }) !== undefined;
}

/**
 * Puts a program on its hook, unless it is there. Where nothing says otherwise it is a clsact filter: a TCX link would let a pod's start wait
 * 8 to 16 ms for RCU. What the agent has attached stays as it is.
 * @returns takes it away again, unless one was there before
 */
export function putInPlace(
  dataPlane: DataPlane,
  { name, hook }: PlacedProgram,
  wanted: AttachMode,
): () => void {
  const present = isAttached(hook);
  const mode = wanted === "auto" ? present?.mode ?? "clsact" : wanted;
  if (present?.mode !== mode || present.progId !== progInfo(dataPlane.programFd(name)).id) {
    attachPinned({ ...hook, name, mode });
  }
  return () => void (present ?? detach(hook));
}

/** How the agent was told to attach (`<stateDir>/datapath.json`); `auto` when no agent has run. */
export function attachMode(stateDir: string): AttachMode {
  try {
    const text = readIfThere(`${stateDir}/datapath.json`);
    const value: unknown = text === undefined ? undefined : JSON.parse(text);
    const mode = isObject(value) ? value["attach"] : undefined;
    return mode === "tcx" || mode === "clsact" ? mode : "auto";
  } catch {
    return "auto";
  }
}
