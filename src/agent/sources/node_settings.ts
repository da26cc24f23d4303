/**
 * Per-node settings of all nodes, from the annotations of Nodes and, where it is configured, from etcd. The values of etcd
 * are kept in the state directory, for an agent that starts while etcd is away.
 */
import { EtcdClient, type EtcdTimes } from "../../cluster/etcd/client.ts";
import { EtcdSettings } from "../../cluster/etcd/settings.ts";
import type { SettingsByNode } from "../../cluster/last_good.ts";
import type { WatchState } from "../../model/agent_state.ts";
import { EffectiveSettings } from "../../cluster/effective_settings.ts";
import type { AgentConfig } from "../../config/schema.ts";
import { nodeSetting, type NodeSettings, nodeSettings } from "../../model/node_settings.ts";
import type { Change } from "../../model/state.ts";
import type { Log } from "../log.ts";
import { hasState, readState, statePath, writeState } from "../../node/state_files.ts";

type Config = Pick<AgentConfig, "nodeName" | "stateDir" | "etcd_url" | "etcd">;

const stateName = "node-settings";

/** Milliseconds that a start waits for etcd. */
const startMs = 2000;

export class NodeSettingsSource {
  readonly #settings: EffectiveSettings;
  readonly #etcd: EtcdSettings | undefined;
  readonly #config: Config;
  readonly #log: Log;
  readonly #changed: (nodes: readonly string[]) => void;

  /** @param changed called with the nodes whose values in etcd changed */
  constructor(
    config: Config,
    log: Log,
    changed: (nodes: readonly string[]) => void,
    times: Partial<EtcdTimes> = {},
  ) {
    this.#config = config;
    this.#log = log;
    this.#changed = changed;
    const { etcd_url, etcd = {}, stateDir } = config;
    this.#settings = new EffectiveSettings(
      (node, where, reason) => this.#problem(node, where, reason),
      etcd_url && recall(stateDir, etcd_url, log),
    );
    if (etcd_url === undefined) return;
    this.#etcd = new EtcdSettings(new EtcdClient({ endpoints: etcd_url, ...etcd }, times), {
      replace: (all) => this.#stored(this.#settings.storeAll(all)),
      set: (node, name, value) =>
        this.#stored(this.#settings.store(node, name, value) ? [node] : []),
      trouble: (reason) => this.#trouble(reason),
    });
  }

  /** The settings of a node that are in effect. */
  of(node: string): NodeSettings {
    return this.#settings.of(node);
  }

  /** Takes the annotations of Nodes. */
  changes(changes: readonly Change[]) {
    for (const { type, object } of changes) {
      if (object.kind !== "Node") continue;
      this.#settings.annotate(object.name, type === "delete" ? undefined : object.annotations);
    }
  }

  /** Call it before the objects' source starts, so that the first sync has the settings. */
  async start() {
    if (this.#etcd === undefined) return;
    this.#log.info({ etcd: this.#config.etcd_url }, "following per-node settings in etcd");
    await this.#etcd.start(startMs);
  }

  async stop() {
    await this.#etcd?.stop();
  }

  /** Why etcd cannot be followed. */
  get failing(): { reason: string; sinceMs: number } | undefined {
    return this.#etcd?.trouble;
  }

  /** Undefined without etcd. */
  get watch(): WatchState | undefined {
    return this.#etcd?.state;
  }

  #stored(nodesChanged: readonly string[]) {
    if (nodesChanged.length === 0) return;
    this.#changed(nodesChanged);
    const { stateDir, etcd_url } = this.#config;
    const nodes = Object.fromEntries(this.#settings.stored);
    try {
      writeState(stateDir, stateName, { etcd_url: [...etcd_url!], nodes });
    } catch (error) {
      this.#log.warn({ err: error }, `${statePath(stateDir, stateName)} cannot be written`);
    }
  }

  /** With an Event for this node's settings; the agents of other nodes report theirs. */
  #problem(node: string, where: string, reason: string | undefined) {
    const fields: { object: string; event?: string } = { object: `Node ${node}` };
    if (node === this.#config.nodeName) {
      fields.event = reason === undefined ? "SettingGood" : "BadSetting";
    }
    if (reason === undefined) this.#log.info(fields, `${where} is in order again`);
    else this.#log.warn(fields, `${where}: ${reason}`);
  }

  #trouble(reason: string | undefined) {
    if (reason === undefined) {
      return this.#log.info({ event: "EtcdBack" }, "etcd can be reached again");
    }
    const known = this.#settings.stored.size > 0;
    const stays = known ? "its last values stay in effect" : "annotations are in effect meanwhile";
    this.#log.warn({ event: "EtcdAway" }, `${reason}; ${stays}`);
  }
}

/** The values that the same etcd had; none without a readable file. */
function recall(stateDir: string, servers: readonly string[], log: Log): SettingsByNode {
  const found: SettingsByNode = new Map();
  const record = readState(stateDir, stateName);
  if (record === undefined && hasState(stateDir, stateName)) {
    log.warn(
      `${statePath(stateDir, stateName)} is damaged: annotations count until etcd can be reached`,
    );
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
