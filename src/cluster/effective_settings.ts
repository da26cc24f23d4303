/**
 * The settings of each node that are in effect: a value in the store (etcd) wins over the Node's annotation, and the last
 * good value over one that cannot be used.
 */
import {
  annotatedSettings,
  etcdKey,
  nodeSetting,
  type NodeSettingName,
  type NodeSettings,
} from "../model/node_settings.ts";
import { LastGood, type SettingsByNode } from "./last_good.ts";

export class EffectiveSettings {
  readonly #annotated: LastGood;
  readonly #stored: LastGood;

  /**
   * @param problem called with a value that cannot be used, once, and with `reason` undefined when it is gone
   * @param remembered the store's values of the last run, checked then
   */
  constructor(
    problem: (node: string, where: string, reason: string | undefined) => void,
    remembered?: SettingsByNode,
  ) {
    this.#annotated = new LastGood((node, name, reason) =>
      problem(node, `annotation ${nodeSetting(name).annotation}`, reason)
    );
    this.#stored = new LastGood(
      (node, name, reason) => problem(node, `etcd key ${etcdKey(node, name)}`, reason),
      remembered,
    );
  }

  of(node: string): NodeSettings {
    return { ...this.#annotated.of(node), ...this.#stored.of(node) };
  }

  /** The store's values, the good ones only. */
  get stored(): SettingsByNode {
    return this.#stored.values;
  }

  /** The annotations of a Node; undefined: it is gone. */
  annotate(node: string, annotations: Readonly<Record<string, string>> = {}) {
    this.#annotated.setAll(node, annotatedSettings(annotations));
  }

  /** One value of the store; undefined: deleted. True when that changes it. */
  store(node: string, name: NodeSettingName, value: string | undefined): boolean {
    return this.#stored.set(node, name, value);
  }

  /** All values of the store. Returns the nodes whose values that changes. */
  storeAll(all: SettingsByNode): string[] {
    const names = new Set([...this.stored.keys(), ...all.keys()]);
    return [...names].filter((node) => this.#stored.setAll(node, all.get(node) ?? {}));
  }
}
