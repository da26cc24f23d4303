/** Which devices are uplinks, and why: to the log, to Events, and to the state file that `pcnk status` reads. */
import { type StateFiles, writeState } from "../../node/state_files.ts";
import type { Log } from "../log.ts";
import type { NodeDevices } from "./uplinks.ts";

export class UplinkReport {
  readonly #stateDir: string;
  readonly #log: Log;
  #written: string | undefined;
  /** What was logged of each device or missing name. */
  #logged = new Map<string, string>();

  constructor(stateDir: string, log: Log) {
    this.#stateDir = stateDir;
    this.#log = log;
  }

  /** Reports each device once, and again when it changed. */
  update({ choices, uplinks, missing }: NodeDevices): void {
    const devices = choices.map(({ link: { name }, uplink, why, unserved }) => ({
      name,
      uplink,
      why,
      unserved,
    }));
    this.#write({ devices, missing });
    const lines = new Map<string, string>();
    for (const { name, uplink, why, unserved } of devices) {
      const address = uplinks.find((one) => one.name === name)?.addresses[0]?.address;
      const key = JSON.stringify([uplink, why, unserved, address]);
      lines.set(name, key);
      if (this.#logged.get(name) === key) continue;
      if (uplink) this.#log.info({ device: name, address, why }, "uplink");
      else if (!unserved) this.#log.info({ device: name, why }, "no uplink");
      if (!unserved) continue;
      const text = uplink
        ? `${name} serves NodePorts only: it ${why}; take it out of the VRF`
        : `${name} cannot be an uplink: it ${why}; NodePorts are not served there and pods' packets ` +
          "keep their addresses: give a GRE tunnel its remote, or lead the route by another device";
      this.#log.warn({ event: "UplinkNotServed", device: name }, text);
    }
    for (const name of missing) {
      lines.set(`missing ${name}`, "");
      if (this.#logged.has(`missing ${name}`)) continue;
      const text = `uplink ${name}: there is no such device; it becomes one when it appears`;
      this.#log.warn({ event: "UplinkMissing", device: name }, text);
    }
    this.#logged = lines;
  }

  #write(state: StateFiles["uplinks"]) {
    const text = JSON.stringify(state);
    if (text === this.#written) return;
    try {
      writeState(this.#stateDir, "uplinks", state);
      this.#written = text;
    } catch (error) {
      // A full disk: routes and programs matter more, and the next sync tries again.
      this.#log.debug({ err: error }, "the uplinks' state file cannot be written");
    }
  }
}
