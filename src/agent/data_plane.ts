/**
 * The data plane at the agent's start: loaded, and replacing the one that serves. Where memory does not suffice for both,
 * the old one serves on; log, /readyz and `pcnk status` say why, and it is tried again.
 */
import { type Installation, prepareDataPlane } from "../bpf/install.ts";
import { LoadError } from "../bpf/object.ts";
import { dataPlaneReady } from "../bpf/pins.ts";
import { SchemaError } from "../bpf/schema.ts";
import { pause } from "../cluster/kube/backoff.ts";
import type { AgentConfig } from "../config/schema.ts";
import { SyscallError } from "../linux/libc.ts";
import type { RtNetlink } from "../linux/rtnetlink.ts";
import { removeState, writeState } from "../node/state_files.ts";
import { HealthServer } from "./http/health.ts";
import type { Log } from "./log.ts";
import { mapCapacities } from "./maps/sizes.ts";

/** Milliseconds until memory may suffice. */
const retryMs = 5000;

interface Options {
  config: AgentConfig;
  nl: RtNetlink;
  log: Log;
  signal: AbortSignal;
}

/**
 * Loads and activates the data plane, or leaves the latter to the caller, for whom the installation waits.
 * @returns undefined when the signal was aborted first
 * @throws as `prepareDataPlane`, when trying again is of no use
 */
export async function startDataPlane(options: Options): Promise<Installation | undefined> {
  const { config: { bpffs, stateDir, healthAddress: address }, log, signal } = options;
  let health: HealthServer | undefined;
  let failure: string | undefined;
  try {
    while (!signal.aborted) {
      try {
        const installation = install(options);
        removeState(stateDir, "upgrade");
        return installation;
      } catch (error) {
        failure = `the former data plane serves on: ${(error as Error).message}`;
        // Of a newer pcnk's state nothing is changed, and nothing serves on a node that never had an agent.
        if (error instanceof SchemaError || !dataPlaneReady(bpffs)) throw error;
        writeState(stateDir, "upgrade", { error: (error as Error).message });
        if (!isShortage(error)) throw error;
        const checks = () => [{ name: "upgrade", ready: true, failure }];
        if (health === undefined) (health = new HealthServer({ address, checks, log })).start();
        log.error({ event: "UpgradeFailed", err: error, retryMs }, failure);
      }
      await pause(retryMs, signal);
    }
    return undefined;
  } finally {
    await health?.stop();
  }
}

function install({ config, nl, log }: Options): Installation {
  const { bpffs } = config;
  const mapSizes = mapCapacities(config.mapSizes);
  const installation = prepareDataPlane({ bpffs, mapSizes, nl, log: (text) => log.info(text) });
  try {
    if (installation.waits) {
      log.info({ bpffs }, "the former data plane serves until the maps of the new one are filled");
    } else {
      installation.activate();
      log.info({ bpffs }, "data plane is installed");
    }
    return installation;
  } catch (error) {
    installation.close();
    throw error;
  }
}

function isShortage(error: unknown): boolean {
  const failed = error instanceof LoadError || error instanceof SyscallError;
  return failed && ["ENOMEM", "ENOSPC"].includes(error.code);
}
