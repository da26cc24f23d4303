/** Drops the endpoints of devices that are gone, and reports when uplinks may have changed. */
import type { RtEvent } from "../../linux/rtnl_monitor.ts";
import { isDefaultRoute } from "../network/uplink_rule.ts";
import { type AttachmentContext, dropVanished } from "./attachments.ts";
import { followRates, repairHostPorts } from "./host_ports.ts";

interface DeviceOptions extends AttachmentContext {
  /** Called when a device, an address or the default route may have changed. */
  changed: () => void;
}

/** Milliseconds between checks of all devices. */
const checkMs = 30_000;

/** Milliseconds from a device's end to the check of its endpoints; the runtime's DEL mostly comes first. */
const vanishMs = 5000;

/** Milliseconds until the plugin that made an ifb device has set the limit. */
const limitMs = 500;
/** Milliseconds in which changes are collected: a pod's devices make a dozen events. */
const burstMs = 50;

export class Devices {
  readonly #options: DeviceOptions;
  #interval: ReturnType<typeof setInterval> | undefined;
  #vanish: ReturnType<typeof setTimeout> | undefined;
  #changed: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(options: DeviceOptions) {
    this.#options = options;
  }

  /** Checks all devices, now and from time to time. */
  async start() {
    await dropVanished(this.#options);
    await repairHostPorts(this.#options);
    followRates(this.#options);
    if (!this.#stopped) this.#interval = setInterval(() => this.#check(), checkMs);
  }

  stop() {
    this.#stopped = true;
    clearInterval(this.#interval);
    clearTimeout(this.#vanish);
    clearTimeout(this.#changed);
  }

  handle(events: readonly RtEvent[]) {
    if (this.#stopped) return;
    for (const event of events) {
      if (event.type === "lost") this.#check();
      else if (mayMoveUplinks(event)) {
        this.#changed ??= setTimeout(() => this.#reportChange(), burstMs);
      }
      // An ifb device comes with a limit on a pod.
      if (event.type === "link" && event.link.kind === "ifb") {
        this.#vanish ??= setTimeout(() => this.#dropVanished(), limitMs);
      }
      if (event.type === "link-gone") {
        this.#vanish ??= setTimeout(() => this.#dropVanished(), vanishMs);
      }
    }
  }

  #check() {
    this.#reportChange();
    this.#dropVanished();
  }

  #reportChange() {
    this.#changed = undefined;
    try {
      this.#options.changed();
    } catch (error) {
      this.#options.log.error({ err: error }, "cannot check the node's devices");
    }
  }

  async #dropVanished() {
    clearTimeout(this.#vanish); // or it keeps the process alive when forgotten
    this.#vanish = undefined;
    try {
      await dropVanished(this.#options);
      await repairHostPorts(this.#options);
      followRates(this.#options);
    } catch (error) {
      if (!this.#stopped) {
        this.#options.log.error(
          { err: error },
          "cannot check the endpoints of devices that are gone",
        );
      }
    }
  }
}

function mayMoveUplinks(event: RtEvent): boolean {
  if (event.type === "route" || event.type === "route-gone") return isDefaultRoute(event.route);
  return !["parameters", "lost", "filter-gone"].includes(event.type);
}
