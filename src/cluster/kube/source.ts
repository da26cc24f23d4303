/**
 * Cluster objects from a Kubernetes API server.
 *
 * Services, Nodes, endpoints and weighted Pods are each followed by a reflector. While the server is away, what was
 * read from it before stays in effect; the source retries, and reports since when it has had no response.
 */
import type { WatchState } from "../../model/agent_state.ts";
import type { Source, SourceListener } from "../source.ts";
import { type Access, AccessError } from "./access.ts";
import { ApiClient, ApiError } from "./client.ts";
import { Reflector, type ReflectorTiming } from "./reflector.ts";
import { endpoints, endpointSlices, nodes, pods, type Resource } from "./resources.ts";
import { services, sliceGroup } from "./resources.ts";
import { ObjectStore } from "./store.ts";

/** Failures in a row before one is reported. */
const reportAfter = 2;

/** One kind of objects. */
interface WatchedResource {
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
  readonly #watched: WatchedResource[];
  readonly #running: Promise<void>[] = [];
  readonly #first = Promise.withResolvers<void>();
  #reported = false;
  #closed = false;

  constructor(
    access: Access,
    sink: SourceListener,
    { podWeights = true, ...timing }: Partial<ReflectorTiming> & { podWeights?: boolean } = {},
  ) {
    this.#access = access;
    this.#sink = sink;
    this.#client = new ApiClient(access);
    const fixed = (resource: Resource) => () => Promise.resolve(resource);
    this.#watched = [
      this.#watchResource("services", fixed(services), timing),
      this.#watchResource("endpoints", (signal) => this.#endpointsResource(signal), timing),
      this.#watchResource("nodes", fixed(nodes), timing),
    ];
    if (podWeights) this.#watched.push(this.#watchResource("pods", fixed(pods), timing));
  }

  /** Resolves when everything was read once, however long the server takes; also when it is closed before. */
  async start(): Promise<void> {
    for (const { reflector } of this.#watched) this.#running.push(reflector.run());
    await this.#first.promise;
  }

  get complete(): boolean {
    return this.#watched.every(({ synced, store }) => synced && store.complete);
  }

  get trouble(): { reason: string; sinceMs: number } | undefined {
    const [worst] = this.#watched.filter(({ failures }) => failures >= reportAfter)
      .sort((a, b) => a.failingSince! - b.failingSince!);
    if (worst === undefined) return undefined;
    return {
      reason: `${this.#access.server} ${worst.reason}`,
      sinceMs: performance.now() - worst.failingSince!,
    };
  }

  get watches(): WatchState[] {
    return this.#watched.map(({ name, synced, reflector, failures, reason }) => ({
      resource: name,
      synced,
      ...reflector.state,
      reason: failures > 0 ? reason : undefined,
    }));
  }

  close() {
    this.#closed = true;
    for (const { reflector } of this.#watched) reflector.stop();
    this.#client.close();
    this.#first.resolve();
  }

  /** Resolves when nothing of it runs any more. */
  async closeAndWait(): Promise<void> {
    this.close();
    await Promise.all(this.#running);
  }

  #watchResource(
    name: string,
    resource: (signal: AbortSignal) => Promise<Resource>,
    timing: Partial<ReflectorTiming>,
  ): WatchedResource {
    const store = new ObjectStore();
    const watched: WatchedResource = {
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
        arrived: () => this.#publish(watched),
        listed: () => this.#listed(watched),
        working: () => this.#working(watched),
        failed: (error) => this.#failed(watched, error),
      }),
    };
    return watched;
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

  #publish(watched: WatchedResource) {
    if (this.#closed) return;
    const { store, name } = watched;
    const { changes, problems } = store.take();
    const file = `${this.#access.server} ${name}`;
    for (const problem of problems) this.#sink.problem({ file, line: 0, ...problem });
    if (changes.length > 0) this.#sink.changes(changes);
    if (watched.troubled && store.inOrder) this.#sink.recovered(file);
    watched.troubled = !store.inOrder;
  }

  #listed(watched: WatchedResource) {
    watched.synced = true;
    if (this.#watched.every(({ synced }) => synced)) this.#first.resolve();
  }

  #working(watched: WatchedResource) {
    watched.failures = 0;
    delete watched.failingSince;
    if (!this.#reported || this.#watched.some(({ failures }) => failures > 0)) return;
    this.#reported = false;
    this.#sink.recovered(this.#access.server);
  }

  #failed(watched: WatchedResource, error: Error) {
    watched.failures++;
    watched.failingSince ??= performance.now();
    watched.reason = error.message;
    if (this.#reported || watched.failures < reportAfter || this.#closed) return;
    this.#reported = true;
    const before = watched.synced ? "; what was read from it before stays in effect" : "";
    const file = error instanceof AccessError ? this.#access.from : this.#access.server;
    this.#sink.problem({ file, line: 0, reason: `${error.message}${before}` });
  }
}
