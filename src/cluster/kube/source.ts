/**
 * Cluster objects from a Kubernetes API server.
 *
 * Services, Nodes, endpoints and weighted Pods are each followed by a reflector. Whatever happens to the server, what was
 * read from it before stays in effect; the source goes on trying, and says since when it has not been heard.
 */
import type { WatchState } from "../../model/agent_state.ts";
import type { Source, SourceListener } from "../source.ts";
import { type Access, AccessError } from "./access.ts";
import { ApiClient, ApiError } from "./client.ts";
import { Reflector, type ReflectorTiming } from "./reflector.ts";
import { endpoints, endpointSlices, nodes, pods, type Resource } from "./resources.ts";
import { services, sliceGroup } from "./resources.ts";
import { ObjectStore } from "./store.ts";

/** A failure that the next attempt mends is not worth a word. */
const tellAfter = 2;

/** One kind of objects. */
interface Follower {
  name: string;
  reflector: Reflector;
  store: ObjectStore;
  synced: boolean;
  /** In a row. */
  failures: number;
  reason?: string;
  failingSince?: number;
  troubled: boolean;
}

export class KubeSource implements Source {
  readonly #access: Access;
  readonly #sink: SourceListener;
  readonly #client: ApiClient;
  readonly #followers: Follower[];
  readonly #running: Promise<void>[] = [];
  readonly #first = Promise.withResolvers<void>();
  #told = false;
  #closed = false;

  constructor(
    access: Access,
    sink: SourceListener,
    timing: Partial<ReflectorTiming> = {},
  ) {
    this.#access = access;
    this.#sink = sink;
    this.#client = new ApiClient(access);
    const fixed = (resource: Resource) => () => Promise.resolve(resource);
    this.#followers = [
      this.#follow("services", fixed(services), timing),
      this.#follow("endpoints", (signal) => this.#endpointsResource(signal), timing),
      this.#follow("nodes", fixed(nodes), timing),
      this.#follow("pods", fixed(pods), timing),
    ];
  }

  /** Resolves when everything was read once, however long the server takes; also when it is closed before. */
  async start(): Promise<void> {
    for (const { reflector } of this.#followers) this.#running.push(reflector.run());
    await this.#first.promise;
  }

  get complete(): boolean {
    return this.#followers.every(({ synced, store }) => synced && store.complete);
  }

  get trouble(): { reason: string; sinceMs: number } | undefined {
    const [worst] = this.#followers.filter(({ failures }) => failures >= tellAfter)
      .sort((a, b) => a.failingSince! - b.failingSince!);
    if (worst === undefined) return undefined;
    return {
      reason: `${this.#access.server} ${worst.reason}`,
      sinceMs: performance.now() - worst.failingSince!,
    };
  }

  get watches(): WatchState[] {
    return this.#followers.map(({ name, synced, reflector, failures, reason }) => ({
      resource: name,
      synced,
      ...reflector.state,
      reason: failures > 0 ? reason : undefined,
    }));
  }

  close() {
    this.#closed = true;
    for (const { reflector } of this.#followers) reflector.stop();
    this.#client.close();
    this.#first.resolve();
  }

  /** Resolves when nothing of it runs any more. */
  async closeAndWait(): Promise<void> {
    this.close();
    await Promise.all(this.#running);
  }

  #follow(
    name: string,
    resource: (signal: AbortSignal) => Promise<Resource>,
    timing: Partial<ReflectorTiming>,
  ): Follower {
    const store = new ObjectStore();
    const follower: Follower = {
      name,
      store,
      synced: false,
      failures: 0,
      troubled: false,
      reflector: new Reflector({
        client: this.#client,
        resource,
        store,
        timing,
        arrived: () => this.#publish(follower),
        listed: () => this.#listed(follower),
        working: () => this.#working(follower),
        failed: (error) => this.#failed(follower, error),
      }),
    };
    return follower;
  }

  /** Slices where the server has them in v1, else Endpoints. Asked before each watch: a cluster may be upgraded. */
  async #endpointsResource(signal: AbortSignal): Promise<Resource> {
    try {
      const group = await this.#client.json(sliceGroup, { signal });
      const list = Array.isArray(group.resources) ? group.resources : [];
      if (group.kind !== "APIResourceList") {
        throw new ApiError(0, `answered ${sliceGroup} with something that is no list`);
      }
      return list.some(({ name }) => name === "endpointslices") ? endpointSlices : endpoints;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return endpoints;
      throw error;
    }
  }

  #publish(follower: Follower) {
    if (this.#closed) return;
    const { store, name } = follower;
    const { changes, problems } = store.take();
    const file = `${this.#access.server} ${name}`;
    for (const problem of problems) this.#sink.problem({ file, line: 0, ...problem });
    if (changes.length > 0) this.#sink.changes(changes);
    if (follower.troubled && store.inOrder) this.#sink.recovered(file);
    follower.troubled = !store.inOrder;
  }

  #listed(follower: Follower) {
    follower.synced = true;
    if (this.#followers.every(({ synced }) => synced)) this.#first.resolve();
  }

  #working(follower: Follower) {
    follower.failures = 0;
    delete follower.failingSince;
    if (!this.#told || this.#followers.some(({ failures }) => failures > 0)) return;
    this.#told = false;
    this.#sink.recovered(this.#access.server);
  }

  #failed(follower: Follower, error: Error) {
    follower.failures++;
    follower.failingSince ??= performance.now();
    follower.reason = error.message;
    if (this.#told || follower.failures < tellAfter || this.#closed) return;
    this.#told = true;
    const before = follower.synced ? "; what was read from it before stays in effect" : "";
    const file = error instanceof AccessError ? this.#access.from : this.#access.server;
    this.#sink.problem({ file, line: 0, reason: `${error.message}${before}` });
  }
}
