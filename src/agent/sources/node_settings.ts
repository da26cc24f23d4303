/**
 * Per-node settings of all nodes, from annotations and, where it is configured, from etcd. What etcd said last is kept in
 * the state directory: an agent that starts while etcd is away goes on with that.
 */
import { EtcdClient, type EtcdTimes } from "../../cluster/etcd/client.ts";
import { EtcdSettings } from "../../cluster/etcd/settings.ts";
import type { SettingsByNode } from "../../cluster/last_good.ts";
import type { WatchState } from "../../model/agent_state.ts";
import { NodeOverlay } from "../../cluster/node_overlay.ts";
import type { AgentConfig } from "../../config/schema.ts";
import { nodeSetting, nodeSettings } from "../../model/node_settings.ts";
import type { Change } from "../../model/state.ts";
import type { ObjectHandler } from "./object_source.ts";
import type { Log } from "../log.ts";
import { hasState, readState, statePath, writeState } from "../../node/state_files.ts";

type Settings = Pick<AgentConfig, "nodeName" | "stateDir" | "etcd_url" | "etcd">;

const stateName = "node-settings";

/** Milliseconds that a start waits for etcd. */
const startMs = 2000;

export class NodeSettings implements ObjectHandler {
  readonly #overlay: NodeOverlay;
  readonly #etcd: EtcdSettings | undefined;
  readonly #config: Settings;
  readonly #log: Log;

  constructor(
    config: Settings,
    followers: readonly ObjectHandler[],
    log: Log,
    times: Partial<EtcdTimes> = {},
  ) {
    this.#config = config;
    this.#log = log;
    const { etcd_url, etcd = {}, stateDir } = config;
    this.#overlay = new NodeOverlay({
      changes: (changes) => followers.forEach((follower) => follower.changes(changes)),
      problem: (node, where, reason) => this.#problem(node, where, reason),
      ...(etcd_url === undefined ? {} : { remembered: recall(stateDir, etcd_url, log) }),
    });
    if (etcd_url === undefined) return;
    this.#etcd = new EtcdSettings(new EtcdClient({ endpoints: etcd_url, ...etcd }, times), {
      replace: (all) => this.#keep(this.#overlay.storeAll(all)),
      set: (node, name, value) => this.#keep(this.#overlay.store(node, name, value)),
      trouble: (reason) => this.#trouble(reason),
    });
  }

  changes(changes: readonly Change[]) {
    this.#overlay.changes(changes);
  }

  /** Before the source starts, so that nodes are right from the first moment. */
  async start() {
    if (this.#etcd === undefined) return;
    this.#log.info({ etcd: this.#config.etcd_url }, "following per-node settings in etcd");
    await this.#etcd.start(startMs);
  }

  async stop() {
    await this.#etcd?.stop();
  }

  /** For health: etcd is away. */
  get failing(): { reason: string; sinceMs: number } | undefined {
    return this.#etcd?.trouble;
  }

  /** How following etcd goes; undefined: it is not asked. */
  get watch(): WatchState | undefined {
    return this.#etcd?.state;
  }

  #keep(changed: boolean) {
    if (!changed) return;
    const { stateDir, etcd_url } = this.#config;
    const nodes = Object.fromEntries(this.#overlay.storedValues);
    try {
      writeState(stateDir, stateName, { etcd_url: [...etcd_url!], nodes });
    } catch (error) {
      this.#log.warn({ err: error }, `${statePath(stateDir, stateName)} cannot be written`);
    }
  }

  /** An Event for this node's own settings; for others' their own agents make one. */
  #problem(node: string, where: string, reason: string | undefined) {
    const own = node === this.#config.nodeName
      ? { event: reason === undefined ? "SettingGood" : "BadSetting" }
      : {};
    const fields = { ...own, object: `Node ${node}` };
    if (reason === undefined) this.#log.info(fields, `${where} is in order again`);
    else this.#log.warn(fields, `${where}: ${reason}`);
  }

  #trouble(reason: string | undefined) {
    if (reason === undefined) return this.#log.info({ event: "EtcdBack" }, "etcd answers again");
    const known = this.#overlay.storedValues.size > 0;
    const stays = known ? "what it said last stays in effect" : "annotations count meanwhile";
    this.#log.warn({ event: "EtcdAway" }, `${reason}; ${stays}`);
  }
}

/** What the same etcd said before; nothing when the file is not there or not as it should be. */
function recall(stateDir: string, servers: readonly string[], log: Log): SettingsByNode {
  const found: SettingsByNode = new Map();
  const record = readState(stateDir, stateName);
  if (record === undefined && hasState(stateDir, stateName)) {
    log.warn(`${statePath(stateDir, stateName)} is damaged: annotations count until etcd answers`);
  }
  if (JSON.stringify(record?.etcd_url) !== JSON.stringify(servers)) return found;
  for (const [node, given] of Object.entries(record?.nodes ?? {})) {
    const good = nodeSettings.map(({ name }) =>
      [name, (given as Partial<Record<string, unknown>>)[name]] as const
    )
      .filter(([name, value]) =>
        typeof value === "string" && nodeSetting(name).problem(value) === undefined
      );
    if (good.length > 0) found.set(node, Object.fromEntries(good));
  }
  return found;
}
