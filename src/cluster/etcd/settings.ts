/**
 * Follows per-node settings in etcd: lists what is there, then watches.
 *
 * A watch that has become old is taken up where it ended. After a failure, and when what it would resume from was compacted,
 * everything is listed again: the store may have been replaced by an empty one under the same name, as happens to an etcd
 * that is there for trying it.
 */
import { etcdPrefix, type NodeSettingName, parseEtcdKey } from "../../model/node_settings.ts";
import { Backoff, type BackoffOptions, msSince, pause } from "../kube/backoff.ts";
import type { SettingsByNode } from "../last_good.ts";
import type { WatchState } from "../../model/agent_state.ts";
import type { EtcdClient } from "./client.ts";
import { CompactedError, type KeyValue } from "./messages.ts";

/** Receives the settings. */
interface SettingsSink {
  /** All that is there now. */
  replace(all: SettingsByNode): void;
  /** One changed; undefined: deleted. */
  set(node: string, name: NodeSettingName, value: string | undefined): void;
  /** etcd does not respond, reported once; undefined: it does again. */
  trouble(reason: string | undefined): void;
}

/** Failures in a row before one is reported. */
const reportAfter = 2;

export class EtcdSettings {
  readonly #client: EtcdClient;
  readonly #sink: SettingsSink;
  readonly #ending = new AbortController();
  readonly #backoff: Backoff;
  readonly #listed = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;
  #failure: { reason: string; since: number; count: number } | undefined;
  readonly #progress = { connected: false, events: 0, lists: 0, errors: 0 };
  /** Of performance.now(). */
  #heardAt: number | undefined;
  #versionAt: number | undefined;

  constructor(
    client: EtcdClient,
    sink: SettingsSink,
    backoff: BackoffOptions = { longestMs: 15_000 },
  ) {
    this.#client = client;
    this.#sink = sink;
    this.#backoff = new Backoff(backoff);
  }

  /** What is wrong now, and for how many milliseconds; undefined: nothing. */
  get trouble(): { reason: string; sinceMs: number } | undefined {
    if (this.#failure === undefined) return undefined;
    return { reason: this.#failure.reason, sinceMs: performance.now() - this.#failure.since };
  }

  /** How following goes. */
  get state(): WatchState {
    return {
      resource: "etcd",
      synced: this.#progress.lists > 0,
      ...this.#progress,
      heardMs: msSince(this.#heardAt),
      versionMs: msSince(this.#versionAt),
      reason: this.#failure?.reason,
    };
  }

  /** Starts to follow; returns when all was read once, or after `waitMs`: a node's start does not hang on etcd. */
  async start(waitMs: number): Promise<void> {
    this.#running = this.#run();
    const waiting = new AbortController();
    await Promise.race([this.#listed.promise, pause(waitMs, waiting.signal)]);
    waiting.abort();
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#running;
    this.#client.close();
  }

  async #run() {
    const { signal } = this.#ending;
    let revision: bigint | undefined;
    while (!signal.aborted) {
      try {
        revision ??= await this.#list();
        revision = await this.#watchResource(revision);
      } catch (error) {
        if (signal.aborted) return;
        revision = undefined;
        if (!(error instanceof CompactedError)) this.#failed(error as Error);
        await pause(this.#backoff.next(), signal);
      }
    }
  }

  async #list(): Promise<bigint> {
    const { items, revision } = await this.#client.range(etcdPrefix, this.#ending.signal);
    this.#sink.replace(settingsOf(items));
    this.#progress.lists++;
    this.#heardAt = this.#versionAt = performance.now();
    this.#working();
    this.#listed.resolve();
    return revision;
  }

  /** Until the watch is old; returns the revision up to which events were passed on. */
  async #watchResource(after: bigint): Promise<bigint> {
    let seen = after;
    this.#progress.connected = true;
    try {
      for await (
        const { revision, events } of this.#client.watch(etcdPrefix, after, this.#ending.signal)
      ) {
        this.#heardAt = performance.now();
        for (const { key, value } of events) {
          this.#progress.events++;
          const about = parseEtcdKey(key);
          if (about !== undefined) this.#sink.set(about.node, about.name, value);
        }
        if (revision <= seen) continue;
        seen = revision;
        this.#versionAt = this.#heardAt;
      }
      return seen;
    } finally {
      this.#progress.connected = false;
    }
  }

  #working() {
    this.#backoff.reset();
    const wasTold = this.#failure !== undefined && this.#failure.count >= reportAfter;
    this.#failure = undefined;
    if (wasTold) this.#sink.trouble(undefined);
  }

  #failed({ message }: Error) {
    const { since = performance.now(), count = 0 } = this.#failure ?? {};
    this.#progress.errors++;
    this.#failure = { reason: message, since, count: count + 1 };
    if (count + 1 === reportAfter) this.#sink.trouble(message);
  }
}

/** Other keys are ignored. */
export function settingsOf(items: readonly KeyValue[]): SettingsByNode {
  const found: SettingsByNode = new Map();
  for (const { key, value } of items) {
    const about = parseEtcdKey(key);
    if (about !== undefined) {
      found.set(about.node, { ...found.get(about.node), [about.name]: value });
    }
  }
  return found;
}
