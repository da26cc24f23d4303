/**
 * etcd's v3 API through the JSON gateway that every etcd server has, over Deno's fetch.
 *
 * The npm client (etcd3 1.1.2) speaks gRPC and needs parts of HTTP/2 that this runtime lacks (docs/decisions.md). Of several endpoints
 * one is used for as long as it answers; the next one's turn comes when it does not.
 *
 * Limitation: with RBAC a user logs in by name and password, and a client certificate must not have a common name: the
 * gateway refuses those (seen with 3.4.23).
 */
import { type Access, AccessError, type Pem, readText } from "../kube/access.ts";
import { ApiClient, ApiError } from "../kube/client.ts";
import type { Fields } from "../reader.ts";
import {
  CompactedError,
  eventOf,
  type KeyValue,
  keyValue,
  lastRevision,
  rangeOf,
  refuseCanceled,
  resultsOf,
  revisionOf,
} from "./messages.ts";
import { hint, isRefusal, isStaleToken } from "./refusals.ts";
import { toBase64 } from "../base64.ts";

/** How etcd is reached. Paths of files are read again whenever they are used. */
export interface EtcdAccess {
  /** Base URLs, at least one. */
  endpoints: readonly string[];
  ca?: string;
  cert?: string;
  key?: string;
  username?: string;
  passwordFile?: string;
}

/** etcd refused a request, or its response is malformed. One line: which server, what, and what to do where that is known. */
class EtcdError extends Error {
  override readonly name = "EtcdError";
}

/** Events that a watch delivers at a time. */
interface WatchBatch {
  /** Of the store; all events up to it have been delivered. */
  revision: bigint;
  events: { key: string; /** Undefined: deleted. */ value?: string }[];
}

export interface EtcdTimes {
  /** Milliseconds within which a server must answer. */
  answerMs: number;
  /** Milliseconds that a watch lives: so long a connection that died without a word goes unnoticed, at most. */
  watchMs: number;
}

const defaultTimes: EtcdTimes = { answerMs: 5000, watchMs: 60_000 };

export class EtcdClient {
  readonly #access: EtcdAccess;
  readonly #clients: ApiClient[];
  readonly #times: EtcdTimes;
  #at = 0;
  #token: string | undefined;

  constructor(access: EtcdAccess, times: Partial<EtcdTimes> = {}) {
    this.#access = access;
    this.#clients = access.endpoints.map((server) => new ApiClient(apiAccess(server, access)));
    this.#times = { ...defaultTimes, ...times };
  }

  /** The server that is used now. */
  get endpoint(): string {
    return this.#access.endpoints[this.#at]!;
  }

  close() {
    for (const client of this.#clients) client.close();
  }

  /**
   * Everything under a prefix, and the store's revision.
   * @throws {EtcdError}
   */
  async range(
    prefix: string,
    signal: AbortSignal,
  ): Promise<{ items: KeyValue[]; revision: bigint }> {
    const answer = await this.#call("/v3/kv/range", rangeOf(prefix), signal);
    const kvs = Array.isArray(answer.kvs) ? answer.kvs as Fields[] : [];
    return { items: kvs.map(keyValue), revision: revisionOf(answer) };
  }

  /** @throws {EtcdError} */
  async put(key: string, value: string, signal: AbortSignal): Promise<void> {
    await this.#call("/v3/kv/put", { key: toBase64(key), value: toBase64(value) }, signal);
  }

  /** One that is not there is no error. @throws {EtcdError} */
  async delete(key: string, signal: AbortSignal): Promise<void> {
    await this.#call("/v3/kv/deleterange", { key: toBase64(key) }, signal);
  }

  /**
   * Events under a prefix after a revision, until the watch is old (then it returns; go on from where it was) or fails.
   * @throws {EtcdError | CompactedError}
   */
  async *watch(prefix: string, after: bigint, signal: AbortSignal): AsyncGenerator<WatchBatch> {
    const create = { ...rangeOf(prefix), start_revision: String(after + 1n) };
    const ending = new AbortController();
    const end = () => ending.abort();
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    let timer: ReturnType<typeof setTimeout> | undefined, late = false;
    const arm = (ms: number, isLate: boolean) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        late = isLate;
        end();
      }, ms);
    };
    arm(this.#times.answerMs, true);
    try {
      const answer = await this.#authorized((headers) =>
        this.#client.open("/v3/watch", {
          method: "POST",
          body: { create_request: create },
          // A member that has lost its leader says so, instead of staying silent.
          headers: { ...headers, "Grpc-Metadata-hasleader": "true" },
          signal: ending.signal,
          silenceMs: this.#times.watchMs * 3,
        }), ending.signal);
      try {
        for await (const result of resultsOf(answer)) {
          if (result.created === true) {
            arm(this.#times.watchMs * (0.75 + Math.random() / 2), false);
            // If an empty store replaces ours, the watch would wait for its thousandth revision.
            if (revisionOf(result) < after) throw new CompactedError("the store was replaced");
          }
          refuseCanceled(result);
          const events = Array.isArray(result.events) ? result.events as Fields[] : [];
          if (events.length > 0) {
            yield { revision: lastRevision(events), events: events.map(eventOf) };
          }
        }
        // It is going down, or a proxy in between has had enough.
        throw new ApiError(0, "ended the watch");
      } finally {
        answer.end();
      }
    } catch (error) {
      if (ending.signal.aborted && !late && !signal.aborted) return;
      if (late) this.#next();
      throw late
        ? new EtcdError(`${this.endpoint} did not answer a watch in time`)
        : this.#reword(error);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      end();
    }
  }

  get #client(): ApiClient {
    return this.#clients[this.#at]!;
  }

  #next() {
    this.#at = (this.#at + 1) % this.#clients.length;
  }

  /** Tries each server once, beginning with the one that answered last. */
  async #call(path: string, body: Fields, signal: AbortSignal): Promise<Fields> {
    const failures: string[] = [];
    for (let tried = 0; tried < this.#clients.length; tried++) {
      try {
        return await this.#authorized((headers) =>
          this.#client.json(path, {
            method: "POST",
            body,
            headers,
            signal,
            silenceMs: this.#times.answerMs,
          }), signal);
      } catch (error) {
        const said = this.#reword(error);
        // What one server refuses the others refuse too; what one cannot do another may.
        if (error instanceof AccessError || isRefusal(error) || signal.aborted) throw said;
        failures.push(said.message);
        this.#next();
      }
    }
    throw new EtcdError(failures.join("; "));
  }

  /** With a token when there is a user; one that etcd does not know any more (5 minutes idle, restarted) is renewed once. */
  async #authorized<T>(
    ask: (headers: Record<string, string>) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    if (this.#access.username === undefined) return await ask({});
    const known = this.#token;
    try {
      return await ask({ authorization: known ?? await this.#logIn(signal) });
    } catch (error) {
      if (known === undefined || !isStaleToken(error)) throw error;
      this.#token = undefined;
      return await ask({ authorization: await this.#logIn(signal) });
    }
  }

  async #logIn(signal: AbortSignal): Promise<string> {
    const { username: name, passwordFile } = this.#access;
    const password = passwordFile === undefined ? "" : readText(passwordFile).replace(/\r?\n$/, "");
    const { token } = await this.#client.json("/v3/auth/authenticate", {
      method: "POST",
      body: { name, password },
      signal,
      silenceMs: this.#times.answerMs,
    });
    if (typeof token !== "string") throw new ApiError(0, "gave no token to log in with");
    return this.#token = token;
  }

  #reword(error: unknown): Error {
    if (error instanceof EtcdError || error instanceof CompactedError) return error;
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof AccessError) return new EtcdError(message);
    if (isStaleToken(error)) this.#token = undefined;
    return new EtcdError(`etcd ${this.endpoint} ${message}${hint(message, this.#access)}`);
  }
}

function apiAccess(server: string, { ca, cert, key }: EtcdAccess): Access {
  return {
    server,
    from: server,
    insecure: false,
    ca: pemFile(ca),
    identity: { cert: pemFile(cert), key: pemFile(key) },
  };
}

function pemFile(file: string | undefined): Pem | undefined {
  return file === undefined ? undefined : { file };
}
