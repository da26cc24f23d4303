/** STATUS: could an ADD succeed now? It could if the data plane is installed; no agent is needed. */
import { dataPlaneReady } from "../src/bpf/pins.ts";
import type { Config } from "./config.ts";
import { CniError, CODE } from "./errors.ts";
import { openInstalled } from "./installed.ts";

/** @throws {CniError} code 50 when no data plane is installed, or one of another version */
export function status({ bpffs }: Config): void {
  openInstalled(bpffs, CODE.NOT_AVAILABLE).close();
  if (dataPlaneReady(bpffs)) return;
  throw new CniError(
    CODE.NOT_AVAILABLE,
    `pcnk's data plane at ${bpffs} is not whole`,
    "an agent that starts on this node repairs it",
  );
}
