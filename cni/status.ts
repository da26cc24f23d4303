/** STATUS: could an ADD succeed now? It could if the data plane is installed; no agent is needed. */
import { dataPlaneReady } from "../src/bpf/pins.ts";
import type { Config } from "./config.ts";
import { CniError, CODE } from "./errors.ts";

/** @throws {CniError} code 50 when no data plane is installed */
export function status({ bpffs }: Config): void {
  if (dataPlaneReady(bpffs)) return;
  throw new CniError(
    CODE.NOT_AVAILABLE,
    `pcnk's eBPF programs are not loaded at ${bpffs}`,
    "start `pcnk agent` on this node, which loads them",
  );
}
