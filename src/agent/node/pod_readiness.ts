/**
 * Lets pods come to this node: writes the CNI configuration as soon as the Node has a podCIDR, and then sets the Node's
 * NetworkUnavailable to False.
 */
import { join } from "node:path";
import { type Attachment, readAttachments } from "../../node/attachments.ts";
import { type Conflist, conflist } from "../../node/conflist.ts";
import type { PluginVersions } from "../../node/plugin_versions.ts";
import type { AgentConfig } from "../../config/schema.ts";
import type { Node } from "../../model/objects.ts";
import type { Change } from "../../model/state.ts";
import { ConflistFile } from "./conflist_file.ts";
import type { Log } from "../log.ts";
import type { NodeCondition } from "./node_condition.ts";
import { type Clock, Runner } from "../runner.ts";

interface PodReadinessOptions {
  config: Pick<AgentConfig, "nodeName" | "cniConfDir" | "bpffs" | "stateDir" | "bridge">;
  log: Log;
  /** Bytes a pod's packet may have, as far as it is known. */
  mtu: () => number | undefined;
  /** Undefined without an API server. */
  condition?: Pick<NodeCondition, "set">;
  /** Why no pod can start here, although the configuration is written; undefined: pods can. */
  refusal?: () => string | undefined;
  /** Undefined: the plugins are not asked for their versions. */
  plugins?: Pick<PluginVersions, "stamp" | "common">;
  clock?: Clock;
}

/** Milliseconds between checks that nothing asks for. */
const checkMs = 30_000;

/**
 * An attachment of a release whose list had portmap. While one is left, so does the list: its DEL removes the pod's rules of
 * iptables, which would lead a port of the node to an address without a pod.
 */
const isFormer = ({ portMappings }: Attachment) => portMappings === undefined;

export class PodReadiness {
  readonly #file: ConflistFile | undefined;
  readonly #runner: Runner;
  #node: Node | undefined;
  #started = false;
  /** What the Node's condition was set to: a refusal, or "" for none; undefined: not set. */
  #set: string | undefined;
  /** What pods wait for. */
  #waiting: "node" | "podCIDR" | undefined;
  #failed: string | undefined;
  /** The newest CNI version that all plugins support, and the files that were asked. */
  #version: string | undefined;
  #asked: string | undefined;
  readonly #options: PodReadinessOptions;

  constructor(options: PodReadinessOptions) {
    this.#options = options;
    const { config: { cniConfDir }, log, clock } = options;
    if (cniConfDir !== undefined && cniConfDir !== "") {
      this.#file = new ConflistFile(cniConfDir, log);
    }
    this.#runner = new Runner({
      run: () => this.#reconcile(),
      failed: (error) => this.#logFailure(error as Error),
      minMs: 50,
      fullMs: checkMs,
      clock,
    });
  }

  /** What is wrong; undefined: nothing. */
  get failure(): string | undefined {
    if (this.#failed !== undefined) return this.#failed;
    if (this.#waiting === "node") return `there is no Node ${this.#options.config.nodeName} yet`;
    return this.#waiting === "podCIDR" ? "the Node has no IPv4 podCIDR yet" : undefined;
  }

  changes(changes: readonly Change[]) {
    const { nodeName } = this.#options.config;
    for (const { type, object } of changes) {
      if (object.kind !== "Node" || object.name !== nodeName) continue;
      this.#node = type === "delete" ? undefined : object;
      // The Node was created again, or a controller set it to True again.
      const unavailable = this.#node?.networkUnavailable ?? false;
      if (this.#node === undefined || unavailable !== (this.#set !== "")) this.#set = undefined;
      if (this.#started) this.#runner.request();
    }
  }

  /** The data plane is ready for pods: from now on they may come. */
  async start() {
    const { plugins } = this.#options;
    if (plugins) await this.#askVersion(plugins, this.#conflist(""));
    this.#started = true;
    this.#runner.request();
  }

  /** The MTU or the plugins may have changed, or another program the file, or what else pods need. */
  look() {
    if (this.#started) this.#runner.request();
  }

  stop() {
    this.#started = false;
    this.#runner.stop();
  }

  #logWaiting(what: "node" | "podCIDR" | undefined) {
    const { config: { nodeName }, log } = this.#options;
    if (what === "node") {
      // No event: there is no Node that it could be on.
      log.warn(
        `there is no Node ${nodeName} yet, so pods cannot start; if that is not the kubelet's name for this node: --node-name`,
      );
    } else if (what === "podCIDR") {
      const text = "the Node has no IPv4 podCIDR yet, so pods cannot start; " +
        "does the controller manager run with --allocate-node-cidrs?";
      log.warn({ event: "NoPodCIDR", object: `Node ${nodeName}` }, text);
    }
  }

  #reconcile() {
    const { condition, refusal: refusalOf } = this.#options;
    const podCIDR = this.#node?.podCIDRs[0];
    const lacking = this.#node === undefined ? "node" : "podCIDR";
    const waiting = podCIDR === undefined && this.#file !== undefined ? lacking : undefined;
    if (waiting !== this.#waiting) this.#logWaiting(waiting);
    this.#waiting = waiting;
    // A podCIDR that went away is no reason to take the network from under running pods.
    if (podCIDR === undefined) return;
    const list = this.#conflist(podCIDR);
    const { plugins } = this.#options;
    if (plugins && plugins.stamp(list) !== this.#asked) {
      this.#askVersion(plugins, list).then(() => this.look());
    }
    this.#file?.ensure({ ...list, cniVersion: this.#version ?? list.cniVersion });
    this.#failed = undefined;
    const refusal = refusalOf?.();
    if (this.#set !== (refusal ?? "")) condition?.set(refusal);
    this.#set = refusal ?? "";
  }

  /** Asks the plugins for the version that all of them support. */
  async #askVersion(plugins: Pick<PluginVersions, "stamp" | "common">, list: Conflist) {
    this.#asked = plugins.stamp(list);
    this.#version = await plugins.common(list);
  }

  #conflist(podCIDR: string): Conflist {
    const { config: { bpffs, stateDir, bridge }, mtu } = this.#options;
    return conflist({
      podCIDR,
      bpffs,
      stateDir,
      bridge,
      // Below /run by default: after a reboot no pod holds an address, and no lease is left of any.
      ipamDataDir: join(stateDir, "ipam"),
      mtu: mtu(),
      portmap: this.#file?.hasPortmap() && readAttachments(stateDir).some(isFormer),
    });
  }

  #logFailure({ message }: Error) {
    const failed = `the CNI configuration cannot be written: ${message}`;
    if (failed !== this.#failed) this.#options.log.error({ event: "ConflistFailed" }, failed);
    this.#failed = failed;
  }
}
