/**
 * Watches the node's devices: puts `lbrp_to_pod` on the pods' bridge when it appears, looks after the pods'
 * attachments, and tells when something has changed that others go by.
 */
import { outletProgram } from "../../bpf/places.ts";
import { RtMonitor } from "../../linux/rtnl_monitor.ts";
import type { Route } from "../../linux/rtnetlink.ts";
import {
  type AttachmentContext,
  dropVanished,
  ensureProgram,
  restorePrograms,
} from "./attachments.ts";

export interface DeviceOptions extends AttachmentContext {
  /** The pods' bridge. */
  bridge: string;
  /** Told when a device, an address or a route may be another one than before. */
  changed: () => void;
  /** Milliseconds between looks at everything. */
  checkMs: number;
}

/** How long after a device went its endpoints are looked for; the runtime's DEL mostly comes first. */
const vanishMs = 5000;
/** Changes come in bursts: a pod's devices are told of a dozen times. */
const burstMs = 50;
/** How long after the bridge got its program it is looked at again. */
const againMs = 1000;

export class Devices {
  readonly #monitor = RtMonitor.open(["link", "address", "route"]);
  readonly #interval: ReturnType<typeof setInterval>;
  #vanish: ReturnType<typeof setTimeout> | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #changed: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;
  #watching: Promise<void> = Promise.resolve();
  readonly #options: DeviceOptions;

  constructor(options: DeviceOptions) {
    this.#options = options;
    this.#interval = setInterval(() => this.#check(), options.checkMs);
  }

  /** Looks at everything now and at what happens from now on. */
  async start() {
    this.#checkBridge();
    restorePrograms(this.#options);
    await dropVanished(this.#options);
    this.#watching = this.#watch();
  }

  async stop() {
    this.#stopped = true;
    clearInterval(this.#interval);
    clearTimeout(this.#vanish);
    clearTimeout(this.#again);
    clearTimeout(this.#changed);
    await this.#monitor.close();
    await this.#watching;
  }

  async #watch() {
    const { log, bridge } = this.#options;
    try {
      for await (const event of this.#monitor) {
        if (this.#stopped) return;
        if (event.type === "lost") this.#check();
        else if (event.type !== "route" && event.type !== "route-gone" || isDefault(event.route)) {
          this.#changed ??= setTimeout(() => this.#tellChange(), burstMs);
        }
        if (event.type === "link" && event.link.name === bridge) this.#checkBridge();
        if (event.type === "link-gone") {
          this.#vanish ??= setTimeout(() => this.#dropVanished(), vanishMs);
        }
      }
    } catch (error) {
      // The checks from time to time go on.
      if (!this.#stopped) log.error({ err: error }, "devices cannot be watched any more");
    }
  }

  #check() {
    this.#again = undefined;
    try {
      this.#checkBridge();
      this.#options.changed();
      restorePrograms(this.#options);
    } catch (error) {
      this.#options.log.error({ err: error }, "devices could not be looked at");
    }
    this.#dropVanished();
  }

  #tellChange() {
    this.#changed = undefined;
    try {
      this.#options.changed();
    } catch (error) {
      this.#options.log.error({ err: error }, "devices could not be looked at");
    }
  }

  async #dropVanished() {
    clearTimeout(this.#vanish); // or it keeps the process alive when forgotten
    this.#vanish = undefined;
    try {
      await dropVanished(this.#options);
    } catch (error) {
      if (!this.#stopped) {
        this.#options.log.error({ err: error }, "endpoints could not be looked at");
      }
    }
  }

  #checkBridge() {
    const { nl, bridge, log, dataPlane: { bpffs } } = this.#options;
    const link = nl.link(bridge);
    if (link !== undefined && ensureProgram(this.#options, outletProgram(bpffs, nl, link))) {
      log.info({ device: bridge }, "lbrp_to_pod attached to the pods' bridge");
      // A CNI call may have done the same in another mode at the same moment, each removing the other's.
      this.#again ??= setTimeout(() => this.#check(), againMs);
    }
  }
}

function isDefault({ destination }: Route): boolean {
  return destination === "0.0.0.0/0";
}
