/**
 * Log lines that have an `event`, as Events on the Node: `kubectl describe node` shows them.
 *
 * Sparingly, because every node writes into one etcd: an Event that repeats is counted in place, many of one reason
 * become one, and a token bucket limits the requests. What cannot be sent is sent later, in its latest state.
 */
import { Backoff, pause } from "../../cluster/kube/backoff.ts";
import { type ApiClient, ApiError } from "../../cluster/kube/client.ts";
import { eventNamespace } from "../../cluster/kube/rbac.ts";

export interface Notice {
  /** CamelCase, or words-with-hyphens, which become that. */
  reason: string;
  message: string;
  type: "Normal" | "Warning";
}

interface NodeEventsOptions {
  client: Pick<ApiClient, "json">;
  nodeName: string;
  /** Milliseconds since the epoch. */
  now?: () => number;
  backoff?: Backoff;
  limits?: Partial<typeof defaults>;
}

const defaults = {
  /** Requests at once, and milliseconds until there may be one more. */
  burst: 20,
  refillMs: 60_000,
  /** Different messages of one reason that are Events of their own. */
  similar: 10,
  /** Milliseconds between two updates of one Event. */
  repeatMs: 300_000,
  /** Events that are remembered. */
  remembered: 100,
};

const path = `/api/v1/namespaces/${eventNamespace}/events`;
/** The API takes 1024 bytes. */
const maxMessage = 900;

interface Entry {
  notice: Notice;
  count: number;
  firstAt: number;
  lastAt: number;
  /** Its name in the API, and the count there. */
  name?: string;
  sent: number;
  sentAt: number;
}

export class NodeEvents {
  readonly #entries = new Map<string, Entry>();
  readonly #control = new AbortController();
  readonly #backoff: Backoff;
  readonly #now: () => number;
  readonly #limits: typeof defaults;
  #tokens: number;
  #tokensAt: number;
  #working: Promise<void> | undefined;
  #wake: AbortController | undefined;
  #number = 0;
  readonly #options: NodeEventsOptions;

  constructor(options: NodeEventsOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#limits = { ...defaults, ...options.limits };
    this.#backoff = options.backoff ?? new Backoff({ firstMs: 1000 });
    this.#tokens = this.#limits.burst;
    this.#tokensAt = this.#now();
  }

  /** Never throws and never waits. */
  report(notice: Notice) {
    const { key, notice: reported } = this.#combine(tidy(notice));
    const now = this.#now();
    const entry = this.#entries.get(key) ??
      { notice: reported, count: 0, firstAt: now, lastAt: now, sent: 0, sentAt: -Infinity };
    entry.notice = reported;
    entry.count++;
    entry.lastAt = now;
    // In the order of what happened last.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const old of this.#entries.keys()) {
      if (this.#entries.size <= this.#limits.remembered) break;
      this.#entries.delete(old);
    }
    this.#wake?.abort();
    this.#working ??= this.#send();
  }

  async stop() {
    this.#control.abort();
    this.#wake?.abort();
    await this.#working;
  }

  #combine(notice: Notice): { key: string; notice: Notice } {
    const { reason, message, type } = notice;
    const key = `${type} ${reason} ${message}`;
    if (this.#entries.has(key)) return { key, notice };
    const same = [...this.#entries.values()].filter((one) => one.notice.reason === reason).length;
    if (same < this.#limits.similar) return { key, notice };
    const combined = `(combined from similar events): ${message}`.slice(0, maxMessage);
    return { key: `${type} ${reason}`, notice: { ...notice, message: combined } };
  }

  /** Sends until there is nothing left that may be sent, now or later. */
  async #send() {
    const { signal } = this.#control;
    while (!signal.aborted) {
      const next = this.#next();
      // Not in a finally(): a report() before that would see `#working` and start nothing.
      if (next === undefined) return void (this.#working = undefined);
      const waitMs = Math.max(next.sentAt + this.#limits.repeatMs - this.#now(), this.#tokenInMs());
      if (waitMs > 0) {
        this.#wake = new AbortController();
        await pause(waitMs, this.#wake.signal);
        continue;
      }
      this.#tokens--;
      try {
        await this.#write(next, signal);
        this.#backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        // Trying again would not help.
        if (isRefusal(error)) this.#wrote(next, next.count);
        else await pause(this.#backoff.next(), signal);
      }
    }
  }

  /** What the server does not know as it is: the one whose turn it is first. */
  #next(): Entry | undefined {
    let first: Entry | undefined;
    for (const entry of this.#entries.values()) {
      if (entry.count > entry.sent && (first === undefined || entry.sentAt < first.sentAt)) {
        first = entry;
      }
    }
    return first;
  }

  /** Milliseconds until a request may be made; 0: now. */
  #tokenInMs(): number {
    const { burst, refillMs } = this.#limits;
    const added = Math.floor((this.#now() - this.#tokensAt) / refillMs);
    this.#tokens = Math.min(burst, this.#tokens + added);
    this.#tokensAt += added * refillMs;
    return this.#tokens > 0 ? 0 : this.#tokensAt + refillMs - this.#now();
  }

  async #write(entry: Entry, signal: AbortSignal) {
    const { client, nodeName } = this.#options;
    const { count, name } = entry;
    if (name !== undefined) {
      const body = { count, lastTimestamp: time(entry.lastAt), message: entry.notice.message };
      const contentType = "application/merge-patch+json";
      try {
        await client.json(`${path}/${name}`, { method: "PATCH", contentType, body, signal });
        return this.#wrote(entry, count);
      } catch (error) {
        // The server forgets Events after an hour.
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      }
    }
    const created = `${nodeName}.${this.#now().toString(16)}${(this.#number++).toString(16)}`;
    const body = eventObject(created, nodeName, entry);
    await client.json(path, { method: "POST", body, signal });
    entry.name = created;
    this.#wrote(entry, count);
  }

  #wrote(entry: Entry, count: number) {
    entry.sent = count;
    entry.sentAt = this.#now();
  }
}

/** Not allowed, or not understood. */
function isRefusal(error: unknown): boolean {
  return error instanceof ApiError && error.status >= 400 && error.status < 500 &&
    error.status !== 429;
}

/** core/v1 Event. The Node's uid is its name here, as in the kubelet's Events: kubectl looks for that. */
function eventObject(name: string, nodeName: string, entry: Entry) {
  const { notice: { reason, message, type }, count, firstAt, lastAt } = entry;
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name, namespace: eventNamespace },
    involvedObject: { kind: "Node", name: nodeName, uid: nodeName },
    reason,
    message,
    type,
    count,
    firstTimestamp: time(firstAt),
    lastTimestamp: time(lastAt),
    source: { component: "pcnk", host: nodeName },
    reportingComponent: "pcnk",
    reportingInstance: nodeName,
  };
}

/** A reason as the API has them, a message that it takes. */
function tidy({ reason, message, type }: Notice): Notice {
  const camel = reason.replaceAll(/(?:^|[-_ ])([a-z])/g, (_, letter) => letter.toUpperCase());
  return { reason: camel.slice(0, 128), message: message.slice(0, maxMessage), type };
}

function time(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}
