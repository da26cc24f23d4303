/**
 * Follows one kind of objects: a list, page by page, then a watch from the list's version on; when the watch ends, the
 * next one goes on from where it was. When that is too long ago for the server (410 Gone), or a response is
 * malformed, it lists again, and whatever was missed is found by comparing.
 *
 * After client-go's reflector, with two differences: pages go to the store as they come, so a large cluster is never in
 * memory as JSON; and a watch that is silent for too long is closed, which detects a connection whose other end is gone
 * without a FIN or RST.
 */
import { DecodeError, type Fields, fields, isFields, text } from "../reader.ts";
import type { WatchState } from "../../model/agent_state.ts";
import { Backoff, type BackoffOptions, msSince, pause } from "./backoff.ts";
import { type ApiClient, ApiError, OversizedError, SilenceError } from "./client.ts";
import { linesOf } from "./lines.ts";
import type { Resource } from "./resources.ts";
import type { ObjectStore } from "./store.ts";

interface ReflectorOptions {
  client: Pick<ApiClient, "json" | "open">;
  /** The list to follow; called before each request. */
  resource: (signal: AbortSignal) => Promise<Resource>;
  store: ObjectStore;
  /** Called after each page and each chunk of a watch: the store may have changed. */
  arrived: () => void;
  /** The first list, or one after a gap, is complete. */
  listed: () => void;
  /** The server responded as specified. */
  working: () => void;
  /** A request failed. */
  failed: (error: Error, retryMs: number) => void;
  timing?: Partial<ReflectorTiming>;
}

export interface ReflectorTiming {
  /** `timeoutSeconds` of a watch: a random value from this to twice this. */
  watchSeconds: number;
  /** A watch without any byte for this time, not even the bookmark of each minute, is closed. */
  silenceMs: number;
  /** A list without any byte for this time is closed. */
  listSilenceMs: number;
  /** Time between lists without a gap: a random value from this to twice this. */
  relistMs: number;
  /** A watch that stays open for this time counts as working, even without events. */
  goodWatchMs: number;
  backoff: BackoffOptions;
}

const defaults = {
  watchSeconds: 300,
  silenceMs: 90_000,
  listSilenceMs: 30_000,
  relistMs: 6 * 3600_000,
  goodWatchMs: 5000,
  backoff: {},
};

/** Behind `WatchState`; times of performance.now(). */
interface Progress {
  connected: boolean;
  heardAt?: number;
  versionAt?: number;
  events: number;
  lists: number;
  errors: number;
}

/** The response is malformed. */
class MalformedError extends Error {
  override readonly name = "MalformedError";
}

export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #timing: ReflectorTiming;
  readonly #backoff: Backoff;
  readonly #control = new AbortController();
  #resource: Resource | undefined;
  /** Where the next watch starts; undefined: a list is needed. */
  #version: string | undefined;
  #relistAt = Infinity;
  /** Objects in a page at most; fewer after a page that was too large. */
  #pageLimit = Infinity;
  /** 410s in a row. */
  #gaps = 0;
  readonly #progress: Progress = { connected: false, events: 0, lists: 0, errors: 0 };

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#timing = { ...defaults, ...options.timing };
    this.#backoff = new Backoff(this.#timing.backoff);
  }

  /** Follows until `stop()`. Never throws. */
  async run(): Promise<void> {
    const { signal } = this.#control;
    while (!signal.aborted) {
      try {
        await this.#once(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (needsList(error)) this.#version = undefined;
        if (error instanceof OversizedError) {
          const { pageSize } = this.#resource!;
          this.#pageLimit = Math.max(1, Math.floor(Math.min(pageSize, this.#pageLimit) / 8));
        }
        const { status, retryAfterMs } = error instanceof ApiError ? error : unanswered;
        this.#progress.errors++;
        const retryMs = Math.max(this.#backoff.next(), retryAfterMs);
        // One 410 Gone is normal; several in a row are not.
        if (status !== 410 || ++this.#gaps > 2) this.#options.failed(error as Error, retryMs);
        await pause(retryMs, signal);
      }
    }
  }

  stop() {
    this.#control.abort();
  }

  /** How it goes. */
  get state(): Omit<WatchState, "resource" | "synced" | "reason"> {
    const { heardAt, versionAt, ...counts } = this.#progress;
    return { ...counts, heardMs: msSince(heardAt), versionMs: msSince(versionAt) };
  }

  /** Lists if need be, then watches until the watch ends. */
  async #once(signal: AbortSignal) {
    const options = this.#options;
    const resource = await options.resource(signal);
    if (resource !== this.#resource || performance.now() > this.#relistAt) {
      this.#version = undefined;
    }
    this.#resource = resource;
    if (this.#version === undefined) {
      this.#version = await this.#list(resource, signal);
      this.#relistAt = performance.now() + atLeast(this.#timing.relistMs);
      options.working();
      options.listed();
    }
    await this.#watch(resource, signal);
  }

  async #list(resource: Resource, signal: AbortSignal): Promise<string> {
    const { client, store, arrived } = this.#options;
    store.listStarts();
    let next: string | undefined;
    for (;;) {
      const page = await client.json(resource.path, {
        query: {
          limit: Math.min(resource.pageSize, this.#pageLimit),
          labelSelector: resource.labelSelector,
          continue: next,
        },
        signal,
        silenceMs: this.#timing.listSilenceMs,
      });
      const { items, version, more } = readPage(resource, page);
      for (const item of items) store.put(resource, item);
      if (more === undefined) store.listEnds();
      arrived();
      if (more === undefined) {
        this.#progress.lists++;
        this.#heard(version);
        return version;
      }
      next = more;
    }
  }

  async #watch(resource: Resource, signal: AbortSignal) {
    const { client } = this.#options;
    const { watchSeconds, silenceMs, goodWatchMs } = this.#timing;
    const answer = await client.open(resource.path, {
      query: {
        watch: 1,
        allowWatchBookmarks: "true",
        resourceVersion: this.#version,
        labelSelector: resource.labelSelector,
        timeoutSeconds: Math.round(atLeast(watchSeconds)),
      },
      signal,
      silenceMs,
    });
    // An accepted watch proves little: some servers end each at once.
    let good = false;
    const isGood = () => {
      if (good) return;
      good = true;
      this.#gaps = 0;
      this.#backoff.reset();
      this.#options.working();
    };
    const timer = setTimeout(isGood, goodWatchMs);
    this.#progress.connected = true;
    try {
      for await (const lines of linesOf(answer.body)) {
        this.#take(resource, lines);
        isGood();
      }
    } catch (error) {
      // No failure yet: a server that sends no bookmarks is silent while nothing changes, and one that is gone does not accept
      // the next watch.
      if (!(error instanceof SilenceError)) throw error;
      isGood();
    } finally {
      this.#progress.connected = false;
      clearTimeout(timer);
      answer.end();
    }
    if (!good) throw new ApiError(0, `ended the watch of ${resource.name} at once`);
  }

  /** Applies the events that these lines are. */
  #take(resource: Resource, lines: string[]) {
    try {
      for (const line of lines) this.#event(resource, line);
    } finally {
      this.#options.arrived();
    }
  }

  #event(resource: Resource, line: string) {
    const { store } = this.#options;
    const { type, object } = readEvent(line);
    if (type === "ERROR") throw watchError(object);
    const { kind } = object;
    if (kind !== resource.kind) {
      throw new MalformedError(
        `sent a ${String(kind).slice(0, 40)} in the watch of ${resource.name}`,
      );
    }
    const version = text(fields(object.metadata, []).resourceVersion, []);
    if (!version) throw new MalformedError("sent an object without a resourceVersion");
    if (type === "DELETED") store.remove(resource, object);
    else if (type === "ADDED" || type === "MODIFIED") store.put(resource, object);
    else if (type !== "BOOKMARK") throw new MalformedError(`sent an event of type ${type}`);
    if (type !== "BOOKMARK") this.#progress.events++;
    this.#heard(version);
    this.#version = version;
  }

  #heard(version: string) {
    const now = performance.now();
    this.#progress.heardAt = now;
    if (version !== this.#version) this.#progress.versionAt = now;
  }
}

const unanswered = { status: 0, retryAfterMs: 0 };

/** 410: what the client knows, or where its list stopped, is too old; a version from the future is no better. */
function needsList(error: unknown): boolean {
  if (error instanceof MalformedError || error instanceof DecodeError) return true;
  return error instanceof ApiError && [400, 404, 410, 504].includes(error.status);
}

function readPage(resource: Resource, page: Fields) {
  const metadata = fields(page.metadata, ["metadata"]);
  const version = text(metadata.resourceVersion, ["metadata", "resourceVersion"]);
  const items = page.items ?? [];
  if (page.kind !== `${resource.kind}List` || !version || !Array.isArray(items)) {
    throw new MalformedError(`answered ${resource.path} with something that is no list`);
  }
  if (!items.every(isFields)) throw new MalformedError(`listed something that is no object`);
  const more = text(metadata.continue, ["metadata", "continue"]);
  return { items: items as Fields[], version, more: more === "" ? undefined : more };
}

function readEvent(line: string): { type: string; object: Fields } {
  try {
    const { type, object } = JSON.parse(line);
    if (typeof type === "string" && isFields(object)) return { type, object };
  } catch {
    // as below
  }
  throw new MalformedError("sent something that is no event");
}

/** A Status object as an error. */
function watchError(status: Fields): ApiError {
  const code = typeof status.code === "number" ? status.code : 0;
  const message = typeof status.message === "string" ? status.message.slice(0, 300) : "no reason";
  return new ApiError(code, `ended a watch with ${code}: ${message}`);
}

/** Between `value` and twice that, so that the nodes of a cluster do not all do it at once. */
function atLeast(value: number): number {
  return value * (1 + Math.random());
}
