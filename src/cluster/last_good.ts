/** Settings of nodes as one source of them says, bad values left out: where there was a good one before, it stays. */
import {
  nodeSetting,
  type NodeSettingName,
  type NodeSettings,
  nodeSettings,
} from "../model/node_settings.ts";

/** By node. */
export type SettingsByNode = Map<string, NodeSettings>;

/** Called once for a value that cannot be used; `reason` undefined: it is good again. */
type ValueListener = (
  node: string,
  name: NodeSettingName,
  reason: string | undefined,
) => void;

export class LastGood {
  readonly #bad = new Map<string, string>();

  readonly #listener: ValueListener;

  constructor(
    listener: ValueListener,
    readonly values: SettingsByNode = new Map(),
  ) {
    this.#listener = listener;
  }

  of(node: string): NodeSettings {
    return this.values.get(node) ?? {};
  }

  /** True when what counts has changed. `value` undefined: it is not given any more. */
  set(node: string, name: NodeSettingName, value: string | undefined): boolean {
    const reason = value === undefined ? undefined : nodeSetting(name).problem(value);
    this.#judge(node, name, value, reason);
    const before = this.of(node)[name];
    if (reason !== undefined || value === before) return false;
    const { [name]: _, ...others } = this.of(node);
    const after = value === undefined ? others : { ...others, [name]: value };
    if (Object.keys(after).length === 0) this.values.delete(node);
    else this.values.set(node, after);
    return true;
  }

  /** All settings of a node at once. */
  setAll(node: string, given: NodeSettings): boolean {
    return nodeSettings.map(({ name }) => this.set(node, name, given[name])).includes(true);
  }

  #judge(node: string, name: NodeSettingName, value: string | undefined, reason?: string) {
    const key = `${node}/${name}`;
    if (reason === undefined) {
      if (this.#bad.delete(key)) this.#listener(node, name, undefined);
    } else if (this.#bad.get(key) !== value) {
      this.#bad.set(key, value!);
      const kept = this.of(node)[name];
      const stays = kept === undefined ? "ignored" : `ignored, ${JSON.stringify(kept)} stays`;
      this.#listener(node, name, `${JSON.stringify(value!.slice(0, 64))} ${reason}; ${stays}`);
    }
  }
}
