/**
 * Services for the node's own processes (hostlb): installs the programs, and ends UDP sockets that are connected to a
 * backend which is gone, since they would go on sending to it.
 */
import { CgroupError } from "../../bpf/cgroup.ts";
import type { DataPlane } from "../../bpf/dataplane.ts";
import { installHostlb, removeHostlb } from "../../bpf/hostlb.ts";
import { endStaleUdpSockets } from "../../bpf/hostlb_sockets.ts";
import { hostlbMaps } from "../../bpf/layout.ts";
import { openMap } from "../../bpf/map.ts";
import { mapPin } from "../../bpf/pins.ts";
import { objGet } from "../../bpf/syscall.ts";
import type { AgentConfig } from "../../config/schema.ts";
import { NetnsCookieError } from "../../linux/netns_cookie.ts";
import { SockDiag, SockDiagError } from "../../linux/sock_diag.ts";
import type { Log } from "../log.ts";
import { endStaleInPods } from "./pod_sockets.ts";

/** Milliseconds from a change to the check of the sockets; changes come in bursts. */
const settleMs = 200;

export class SocketLb {
  #active = false;
  #installed = false;
  #loggedLeft = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #dataPlane: DataPlane;
  readonly #config: Pick<AgentConfig, "cgroup" | "socketLB" | "stateDir">;
  readonly #log: Log;

  constructor(
    dataPlane: DataPlane,
    config: Pick<AgentConfig, "cgroup" | "socketLB" | "stateDir">,
    log: Log,
  ) {
    this.#dataPlane = dataPlane;
    this.#config = config;
    this.#log = log;
  }

  /**
   * Installs the programs, or removes them when they are switched off. Where the machine does not let them be installed
   * the rest of the agent's work goes on: pods do not need them.
   */
  start() {
    const log = this.#log;
    const { cgroup, socketLB } = this.#config;
    if (socketLB === "off") {
      removeHostlb(this.#dataPlane.bpffs);
      return;
    }
    try {
      this.install();
      this.#active = this.#installed = true;
      log.info({ cgroup, socketLB }, "services for the node's own processes");
    } catch (error) {
      if (!(error instanceof CgroupError || error instanceof NetnsCookieError)) throw error;
      const hint = "give --cgroup a cgroup v2 directory, or --socket-lb off";
      log.warn(
        { event: "NoSocketLB" },
        `this node's own processes reach no services: ${error.message}; ${hint}`,
      );
      return;
    }
    this.#endStale();
  }

  /** Installs the programs again. @throws as installHostlb() */
  install() {
    const { cgroup, socketLB } = this.#config;
    if (socketLB === "off") return;
    const log = (text: string) => this.#log.info(text);
    installHostlb({ bpffs: this.#dataPlane.bpffs, cgroup, socketLb: socketLB, log });
  }

  /** Whether the programs were installed. */
  get installed(): boolean {
    return this.#installed;
  }

  /** Services or backends changed. */
  changed() {
    if (this.#active) this.#timer ??= setTimeout(() => this.#endStale(), settleMs);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#active = false;
  }

  #endStale() {
    this.#timer = undefined;
    const { services, backends } = this.#dataPlane.maps;
    const pin = mapPin(this.#dataPlane.bpffs, hostlbMaps.hostlb_connections.name);
    try {
      using connections = openMap(objGet(pin), hostlbMaps.hostlb_connections);
      using diag = SockDiag.open();
      const search = { services, backends, connections };
      let ended = endStaleUdpSockets(diag, search);
      if (this.#config.socketLB === "all") ended += this.#endInPods(search);
      if (ended > 0) this.#log.info({ ended }, "UDP sockets to backends that are gone were ended");
    } catch (error) {
      if (!(error instanceof SockDiagError)) {
        this.#log.error({ err: error }, "cannot end the UDP sockets of removed backends");
        return;
      }
      this.#active = false;
      this.#log.warn(
        { event: "NoSockDiag" },
        `UDP sockets to removed backends stay: ${error.message}`,
      );
    }
  }

  #endInPods(search: Parameters<typeof endStaleInPods>[1]): number {
    const { ended, left } = endStaleInPods(this.#config.stateDir, search);
    if (left > 0 && !this.#loggedLeft) {
      this.#log.warn(
        { event: "PodSockets", left },
        "UDP sockets to backends that are gone are in network namespaces that are not to be found",
      );
    }
    this.#loggedLeft = left > 0;
    return ended;
  }
}
