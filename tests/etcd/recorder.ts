/** Follows settings in an etcd and lets a test wait for what it wants to see. */
import { type EtcdAccess, EtcdClient, type EtcdTimes } from "../../src/cluster/etcd/client.ts";
import { EtcdSettings } from "../../src/cluster/etcd/settings.ts";
import type { SettingsByNode } from "../../src/cluster/last_good.ts";

export class Recorder implements AsyncDisposable {
  readonly seen: SettingsByNode = new Map();
  /** Of each kind how many. */
  lists = 0;
  readonly troubles: (string | undefined)[] = [];
  readonly client: EtcdClient;
  readonly settings: EtcdSettings;
  private readonly waiting = new Set<() => void>();

  constructor(access: EtcdAccess, times: Partial<EtcdTimes> = {}) {
    this.client = new EtcdClient(access, { answerMs: 1000, ...times });
    this.settings = new EtcdSettings(this.client, {
      replace: (all) => {
        this.lists++;
        this.seen.clear();
        for (const [node, given] of all) this.seen.set(node, given);
        this.tell();
      },
      set: (node, name, value) => {
        const { [name]: _, ...rest } = this.seen.get(node) ?? {};
        this.seen.set(node, value === undefined ? rest : { ...rest, [name]: value });
        this.tell();
      },
      trouble: (reason) => {
        this.troubles.push(reason);
        this.tell();
      },
    }, { firstMs: 20, longestMs: 200 });
  }

  get(node: string, name: "directRouting" | "vpcMode" | "publicIP"): string | undefined {
    return this.seen.get(node)?.[name];
  }

  /** Resolves when `wanted` is true; fails after 15 seconds. */
  async until(what: string, wanted: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => wanted() && resolve();
    const timer = setTimeout(
      () =>
        reject(new Error(`not seen: ${what}; ${JSON.stringify([...this.seen])} ${this.troubles}`)),
      15_000,
    );
    this.waiting.add(look);
    look();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.waiting.delete(look);
    }
  }

  private tell() {
    for (const look of [...this.waiting]) look();
  }

  async [Symbol.asyncDispose]() {
    await this.settings.stop();
  }
}
