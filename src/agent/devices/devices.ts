/**
 * Keeps the programs on the node's devices: attaches `lbrp_to_pod` to the pods' bridge when it appears, restores the
 * programs of pods, and drops the endpoints of devices that are gone.
 */
import { outletAttachPoint } from "../../bpf/attach_points.ts";
import type { RtEvent } from "../../linux/rtnl_monitor.ts";
import type { Route } from "../../linux/rtnetlink.ts";
import {
  type AttachmentContext,
  dropVanished,
  ensureProgram,
  restorePrograms,
} from "./attachments.ts";

interface DeviceOptions extends AttachmentContext {
  /** The pods' bridge. */
  bridge: string;
  /** Called when a device, an address or the default route may have changed. */
  changed: () => void;
}

/** Milliseconds between checks of all devices. */
const checkMs = 30_000;
/** Milliseconds from a device's end to the check of its endpoints; the runtime's DEL mostly comes first. */
const vanishMs = 5000;
/** Milliseconds in which changes are collected: a pod's devices make a dozen events. */
const burstMs = 50;
/** Milliseconds until the bridge is checked again after it got its program. */
const againMs = 1000;

export class Devices {
  readonly #options: DeviceOptions;
  #interval: ReturnType<typeof setInterval> | undefined;
  #vanish: ReturnType<typeof setTimeout> | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #changed: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(options: DeviceOptions) {
    this.#options = options;
  }

  /** Checks all devices, now and from time to time. */
  async start() {
    this.#checkBridge();
    restorePrograms(this.#options);
    await dropVanished(this.#options);
    if (!this.#stopped) this.#interval = setInterval(() => this.#check(), checkMs);
  }

  stop() {
    this.#stopped = true;
    clearInterval(this.#interval);
    clearTimeout(this.#vanish);
    clearTimeout(this.#again);
    clearTimeout(this.#changed);
  }

  handle(events: readonly RtEvent[]) {
    if (this.#stopped) return;
    for (const event of events) {
      if (event.type === "lost") this.#check();
      else if (mayMoveUplinks(event)) {
        this.#changed ??= setTimeout(() => this.#reportChange(), burstMs);
      }
      if (event.type === "link" && event.link.name === this.#options.bridge) {
        this.#attempt(() => this.#checkBridge());
      }
      if (event.type === "link-gone") {
        this.#vanish ??= setTimeout(() => this.#dropVanished(), vanishMs);
      }
    }
  }

  #check() {
    this.#again = undefined;
    this.#attempt(() => {
      this.#checkBridge();
      this.#options.changed();
      restorePrograms(this.#options);
    });
    this.#dropVanished();
  }

  #reportChange() {
    this.#changed = undefined;
    this.#attempt(this.#options.changed);
  }

  #attempt(work: () => void) {
    try {
      work();
    } catch (error) {
      this.#options.log.error({ err: error }, "cannot check the node's devices");
    }
  }

  async #dropVanished() {
    clearTimeout(this.#vanish); // or it keeps the process alive when forgotten
    this.#vanish = undefined;
    try {
      await dropVanished(this.#options);
    } catch (error) {
      if (!this.#stopped) {
        this.#options.log.error(
          { err: error },
          "cannot check the endpoints of devices that are gone",
        );
      }
    }
  }

  #checkBridge() {
    const { nl, bridge, log, dataPlane: { bpffs } } = this.#options;
    const link = nl.link(bridge);
    if (link !== undefined && ensureProgram(this.#options, outletAttachPoint(bpffs, nl, link))) {
      log.info({ device: bridge }, "lbrp_to_pod attached to the pods' bridge");
      // A CNI call may have done the same in another mode at the same moment, each removing the other's.
      this.#again ??= setTimeout(() => this.#check(), againMs);
    }
  }
}

function mayMoveUplinks(event: RtEvent): boolean {
  if (event.type === "route" || event.type === "route-gone") return isDefault(event.route);
  return event.type !== "parameters" && event.type !== "lost";
}

function isDefault({ destination }: Route): boolean {
  return destination === "0.0.0.0/0";
}
