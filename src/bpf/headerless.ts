/**
 * The programs for uplinks without Ethernet header (k8sdispatcher_l3.bpf.o). Few nodes have such a device, and the kernel takes
 * about a second to verify them: they are loaded when the first one comes.
 */
import type { RtNetlink } from "../linux/rtnetlink.ts";
import { readArtifact } from "./artifacts.ts";
import { listAttachments } from "./attach.ts";
import { loadObject } from "./object.ts";
import { hasPin, HEADERLESS_PROGRAMS, programPin, removePin, replacePin } from "./pins.ts";

export const HEADERLESS_OBJECT = "k8sdispatcher_l3.bpf.o";

const isHeaderless = (name: string) => HEADERLESS_PROGRAMS.some((one) => one === name);

/** Whether any of them is attached. */
export function servesHeaderless(bpffs: string, nl: RtNetlink): boolean {
  return listAttachments({ bpffs, nl }).some(({ name }) => isHeaderless(name));
}

/**
 * Loads and pins them, on the maps of the data plane that is installed, if `name` is one of them and they are not pinned.
 * @throws {LoadError} with the verifier's log
 */
export function ensureHeaderless(bpffs: string, name: string): void {
  if (!isHeaderless(name) || HEADERLESS_PROGRAMS.every((one) => hasPin(programPin(bpffs, one)))) {
    return;
  }
  using object = loadObject(readArtifact(HEADERLESS_OBJECT), {
    name: HEADERLESS_OBJECT,
    pinDir: `${bpffs}/map`,
    keepCapacities: true,
  });
  for (const [program, fd] of object.programs) replacePin(programPin(bpffs, program), fd);
}

/** Removes their pins: a later uplink must not get those of a former version. */
export function forgetHeaderless(bpffs: string): void {
  for (const name of HEADERLESS_PROGRAMS) removePin(programPin(bpffs, name));
}
