/**
 * Watches the node's devices: puts `lbrp_to_pod` on the pods' bridge when it appears, looks after the pods'
 * attachments, and keeps the node's own address in the data plane's configuration.
 */
import { outletProgram } from "../bpf/places.ts";
import { RtMonitor } from "../linux/rtnl_monitor.ts";
import {
  type AttachmentContext,
  dropVanished,
  ensureProgram,
  restorePrograms,
} from "./attachments.ts";
import { findUplink, type Uplink } from "./uplink.ts";

export interface DeviceOptions extends AttachmentContext {
  /** The pods' bridge. */
  bridge: string;
  /** Name of the uplink; undefined: the default route's device. */
  uplink?: string;
  /** Told when the uplink or its address is another one than before. */
  uplinkChanged: (uplink: Uplink | undefined) => void;
  /** Milliseconds between looks at everything. */
  checkMs: number;
}

/** How long after a device went its endpoints are looked for; the runtime's DEL mostly comes first. */
const vanishMs = 5000;
/** How long after the bridge got its program it is looked at again. */
const againMs = 1000;

export class Devices {
  private readonly monitor = RtMonitor.open(["link", "address", "route"]);
  private readonly interval: ReturnType<typeof setInterval>;
  private vanish: ReturnType<typeof setTimeout> | undefined;
  private again: ReturnType<typeof setTimeout> | undefined;
  private uplinkSeen: string | undefined;
  private stopped = false;
  private watching: Promise<void> = Promise.resolve();

  constructor(private readonly options: DeviceOptions) {
    this.interval = setInterval(() => this.check(), options.checkMs);
  }

  /** Looks at everything now and at what happens from now on. */
  async start() {
    this.checkBridge();
    this.checkUplink();
    restorePrograms(this.options);
    await dropVanished(this.options);
    this.watching = this.watch();
  }

  async stop() {
    this.stopped = true;
    clearInterval(this.interval);
    clearTimeout(this.vanish);
    clearTimeout(this.again);
    await this.monitor.close();
    await this.watching;
  }

  private async watch() {
    const { log, bridge } = this.options;
    try {
      for await (const event of this.monitor) {
        if (this.stopped) return;
        if (event.type === "lost") this.check();
        else if (event.type === "link" && event.link.name === bridge) this.checkBridge();
        else if (event.type === "link-gone") {
          this.vanish ??= setTimeout(() => this.dropVanished(), vanishMs);
        } else if (event.type !== "link") this.checkUplink();
      }
    } catch (error) {
      // The checks from time to time go on.
      if (!this.stopped) log.error({ err: error }, "devices cannot be watched any more");
    }
  }

  private check() {
    this.again = undefined;
    try {
      this.checkBridge();
      this.checkUplink();
      restorePrograms(this.options);
    } catch (error) {
      this.options.log.error({ err: error }, "devices could not be looked at");
    }
    this.dropVanished();
  }

  private async dropVanished() {
    clearTimeout(this.vanish); // or it keeps the process alive when forgotten
    this.vanish = undefined;
    try {
      await dropVanished(this.options);
    } catch (error) {
      if (!this.stopped) this.options.log.error({ err: error }, "endpoints could not be looked at");
    }
  }

  private checkBridge() {
    const { nl, bridge, log, dataPlane: { bpffs } } = this.options;
    const link = nl.link(bridge);
    if (link !== undefined && ensureProgram(this.options, outletProgram(bpffs, nl, link))) {
      log.info({ device: bridge }, "lbrp_to_pod attached to the pods' bridge");
      // A CNI call may have done the same in another mode at the same moment, each removing the other's.
      this.again ??= setTimeout(() => this.check(), againMs);
    }
  }

  private checkUplink() {
    const { nl, uplink: name, uplinkChanged, log } = this.options;
    let uplink: Uplink | undefined;
    try {
      uplink = findUplink(nl, name);
    } catch (error) {
      if (this.uplinkSeen !== "gone") log.warn({ device: name }, (error as Error).message);
      this.uplinkSeen = "gone";
      return;
    }
    const seen = `${uplink?.name} ${uplink?.ifindex} ${uplink?.address}`;
    const before = this.uplinkSeen;
    this.uplinkSeen = seen;
    if (seen !== before) uplinkChanged(uplink);
  }
}
