/** STATUS: could an ADD succeed now? It could if the data plane is installed; no agent is needed. */
import { PROGRAMS } from "../src/bpf/pins.ts";
import type { Config } from "./config.ts";
import { CODE } from "./errors.ts";
import { openInstalled } from "./installed.ts";

/** @throws {CniError} code 50 when no data plane is installed, or one of another version */
export function status({ bpffs }: Config): void {
  using dataPlane = openInstalled(bpffs, CODE.NOT_AVAILABLE);
  for (const program of PROGRAMS) dataPlane.programFd(program);
}
