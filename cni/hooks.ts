/** Putting a pod's programs in their places, the way the agent was told to. */
import { type AttachMode, attachPinned, detach, isAttached } from "../src/bpf/attach.ts";
import type { DataPlane } from "../src/bpf/dataplane.ts";
import type { PlacedProgram } from "../src/bpf/places.ts";
import { progInfo } from "../src/bpf/syscall.ts";
import { readState } from "../src/node/state_files.ts";

/**
 * Puts a program on its hook, unless it is there. Where nothing says otherwise it is a clsact filter: a TCX link would let a
 * pod's start wait 8 to 16 ms for RCU. What the agent has attached stays as it is.
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

/** The mode that the agent attaches by (`<stateDir>/datapath.json`); `auto` when no agent has run. */
export function attachMode(stateDir: string): AttachMode {
  const mode = readState(stateDir, "datapath")?.attach;
  return mode === "tcx" || mode === "clsact" ? mode : "auto";
}
