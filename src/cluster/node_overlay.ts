/**
 * Stands between the source of cluster objects and those who follow them: Node objects pass with the settings that count
 * in their annotations. What a store (etcd) says of a setting wins over the annotation.
 */
import type { Node } from "../model/objects.ts";
import type { Change } from "../model/state.ts";
import {
  annotatedSettings,
  etcdKey,
  nodeSetting,
  type NodeSettingName,
  type NodeSettings,
  nodeSettings,
} from "../model/node_settings.ts";
import { LastGood, type SettingsByNode } from "./last_good.ts";

export interface OverlayOptions {
  /** Followers of cluster objects. */
  changes(changes: readonly Change[]): void;
  /** Which value of which node cannot be used and why; undefined: it is in order again. */
  problem(node: string, where: string, reason: string | undefined): void;
  /** What the store said last time, checked then. */
  remembered?: SettingsByNode;
}

export class NodeOverlay {
  private readonly nodes = new Map<string, Node>();
  private readonly annotated: LastGood;
  private readonly stored: LastGood;

  constructor(private readonly options: OverlayOptions) {
    const { problem, remembered } = options;
    this.annotated = new LastGood((node, name, reason) =>
      problem(node, `annotation ${nodeSetting(name).annotation}`, reason)
    );
    this.stored = new LastGood(
      (node, name, reason) => problem(node, `etcd key ${etcdKey(node, name)}`, reason),
      remembered,
    );
  }

  /** What the store says, the good values only. */
  get storedValues(): SettingsByNode {
    return this.stored.values;
  }

  /** From the source. */
  changes(changes: readonly Change[]) {
    this.options.changes(
      changes.map((change) =>
        change.object.kind === "Node" ? this.pass(change, change.object) : change
      ),
    );
  }

  /** One value in the store; undefined: deleted. True when that changes anything. */
  store(node: string, name: NodeSettingName, value: string | undefined): boolean {
    const changed = this.stored.set(node, name, value);
    if (changed) this.tell([node]);
    return changed;
  }

  /** All that is in the store. True when that changes anything. */
  storeAll(all: SettingsByNode): boolean {
    const names = new Set([...this.stored.values.keys(), ...all.keys()]);
    const changed = [...names].filter((node) => this.stored.setAll(node, all.get(node) ?? {}));
    this.tell(changed);
    return changed.length > 0;
  }

  private tell(names: readonly string[]) {
    const known = names.map((name) => this.nodes.get(name)).filter((node) => node !== undefined);
    if (known.length === 0) return;
    this.options.changes(known.map((node) => ({ type: "upsert", object: this.merged(node) })));
  }

  private pass({ type }: Change, node: Node): Change {
    if (type === "delete") {
      this.nodes.delete(node.name);
      this.annotated.setAll(node.name, {});
      return { type, object: node };
    }
    this.nodes.set(node.name, node);
    this.annotated.setAll(node.name, annotatedSettings(node.annotations ?? {}));
    return { type, object: this.merged(node) };
  }

  private merged(node: Node): Node {
    const counts: NodeSettings = { ...this.annotated.of(node.name), ...this.stored.of(node.name) };
    const annotations = { ...node.annotations };
    for (const { name, annotation } of nodeSettings) {
      const value = counts[name];
      if (value === undefined) delete annotations[annotation];
      else annotations[annotation] = value;
    }
    const { annotations: _, ...rest } = node;
    return Object.keys(annotations).length === 0 ? rest : { ...rest, annotations };
  }
}
