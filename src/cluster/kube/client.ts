/**
 * Requests to the API server, over Deno's own fetch.
 *
 * HTTP/1.1 and not 2: one connection a watch. In HTTP/2 all requests share one, and when that is half open (the other
 * end is gone without a word) new requests would join the dead one. A request that hears nothing for a while ends with
 * an error here, and connections that were kept are let go with it.
 */
import { type Fields, isFields } from "../reader.ts";
import { type Access, AccessError } from "./access.ts";
import { CredentialSource } from "./credentials.ts";
import { Transport } from "./transport.ts";

/** The server refused a request, or its response is malformed. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    /** HTTP status; 0: there was no proper answer. */
    readonly status: number,
    message: string,
    /** Milliseconds to wait before the next request (Retry-After). */
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }
}

/** The response is larger than this client takes. */
export class OversizedError extends ApiError {
  constructor(limit: number) {
    super(0, `answered with more than ${limit >> 20} MiB`);
  }
}

/** Nothing came for a while. */
export class SilenceError extends ApiError {
  constructor(ms: number) {
    super(0, `sent nothing for ${ms / 1000} s`);
  }
}

type Query = Readonly<Record<string, string | number | undefined>>;

export interface RequestOptions {
  query?: Query;
  signal: AbortSignal;
  /** Milliseconds without a byte after which the server counts as gone. */
  silenceMs?: number;
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  contentType?: string;
  headers?: Readonly<Record<string, string>>;
}

/** A response whose body is streamed. `end()` must be called. */
export interface Answer {
  body: AsyncIterable<Uint8Array>;
  end(): void;
}

/** A larger response is an error: parsed it takes several times as much memory, and a second. */
const maxBodyBytes = 32 * 1024 * 1024;
const maxErrorBytes = 64 * 1024;
const silenceMs = 30_000;

export class ApiClient {
  readonly #credentials: CredentialSource;
  readonly #transport: Transport;

  constructor(readonly access: Access) {
    this.#credentials = new CredentialSource(access);
    this.#transport = new Transport(access);
  }

  close() {
    this.#transport.close();
  }

  /**
   * Sends a request and reads a JSON object.
   * @throws {ApiError | AccessError}
   */
  async json(path: string, options: RequestOptions): Promise<Fields> {
    const answer = await this.open(path, options);
    try {
      const value = JSON.parse(await readText(answer.body, maxBodyBytes));
      if (!isFields(value)) throw new SyntaxError();
      return value;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw new ApiError(0, `answered ${path} with something that is not a JSON object`);
    } finally {
      answer.end();
    }
  }

  /**
   * Sends a request; the body is for the caller to read.
   * @throws {ApiError | AccessError}
   */
  async open(path: string, options: RequestOptions): Promise<Answer> {
    const watchdog = new Watchdog(options.signal, options.silenceMs ?? silenceMs);
    try {
      const { authorization, ...tls } = await this.#credentials.current(watchdog.signal);
      const headers = { ...this.access.identity.headers, ...options.headers };
      const init = requestInit({ ...options, headers }, authorization, watchdog.signal);
      const asked = this.#transport.fetch(urlPath(path, options.query), init, tls);
      const response = await orAborted(asked, watchdog.signal);
      const body = watched(response.body, watchdog, (error) => this.#failure(error, watchdog));
      if (response.ok) return { body, end: () => watchdog.end() };
      if (response.status === 401) this.#credentials.refused();
      throw await refusal(path, response, body, this.#transport.doubt);
    } catch (error) {
      watchdog.end();
      throw this.#failure(error, watchdog);
    }
  }

  /** Reworded for the log; a connection that is in doubt is not used again. */
  #failure(error: unknown, watchdog: Watchdog): Error {
    if (error instanceof ApiError || error instanceof AccessError) return error;
    this.#transport.renew();
    if (watchdog.expired) return new SilenceError(watchdog.ms);
    const { through, doubt } = this.#transport;
    return new ApiError(0, connectionReason(error) + through + doubt);
  }
}

function requestInit(
  { method = "GET", body, contentType = "application/json", headers: more = {} }: RequestOptions,
  authorization: string | undefined,
  signal: AbortSignal,
): RequestInit {
  const headers = new Headers({ accept: "application/json", "user-agent": "pcnk", ...more });
  if (authorization !== undefined) headers.set("authorization", authorization);
  // A redirect would send the credentials to another server.
  const init: RequestInit = { method, headers, redirect: "manual", signal };
  if (body === undefined) return init;
  headers.set("content-type", contentType);
  return { ...init, body: JSON.stringify(body) };
}

/** `asked`, or an error as soon as `signal` is aborted; an answer that comes later is thrown away. */
async function orAborted(asked: Promise<Response>, signal: AbortSignal): Promise<Response> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(new Error("it was ended"));
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    return await Promise.race([asked, promise]);
  } catch (error) {
    asked.then((late) => late.body?.cancel()).catch(() => {});
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Ends a request when its caller does, or when nothing has come for a while. */
class Watchdog {
  readonly #outer: AbortSignal;
  readonly #control = new AbortController();
  #timer: ReturnType<typeof setTimeout>;
  expired = false;
  readonly #abort = () => this.#control.abort();

  constructor(outer: AbortSignal, readonly ms: number) {
    this.#outer = outer;
    this.#timer = this.#start();
    if (outer.aborted) this.#abort();
    else outer.addEventListener("abort", this.#abort);
  }

  get signal(): AbortSignal {
    return this.#control.signal;
  }

  /** Bytes arrived. */
  heard() {
    clearTimeout(this.#timer);
    if (!this.#control.signal.aborted) this.#timer = this.#start();
  }

  end() {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#abort);
    this.#control.abort();
  }

  #start(): ReturnType<typeof setTimeout> {
    return setTimeout(() => {
      this.expired = true;
      this.#control.abort();
    }, this.ms);
  }
}

/**
 * Reads a body. The reader is cancelled rather than the request's signal trusted: Deno hands that signal on weakly, and
 * once the request is collected as garbage an abort does not reach the body any more (seen with 2.6.8).
 */
async function* watched(
  body: ReadableStream<Uint8Array> | null,
  watchdog: Watchdog,
  reword: (error: unknown) => Error,
): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  const reader = body.getReader();
  const cancel = () => void reader.cancel().catch(() => {});
  watchdog.signal.addEventListener("abort", cancel);
  if (watchdog.signal.aborted) cancel();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (watchdog.signal.aborted) throw reword(new Error("it was ended"));
      if (done) return;
      watchdog.heard();
      yield value;
    }
  } catch (error) {
    throw reword(error);
  } finally {
    watchdog.signal.removeEventListener("abort", cancel);
    cancel();
  }
}

async function readText(body: AsyncIterable<Uint8Array>, limit: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "", length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > limit) throw new OversizedError(limit);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** A Status object says more than its HTTP status. */
async function refusal(
  path: string,
  response: Response,
  body: AsyncIterable<Uint8Array>,
  doubt: string,
): Promise<ApiError> {
  let said = "";
  let content = "";
  try {
    content = (await readText(body, maxErrorBytes)).trim();
    const value = JSON.parse(content);
    if (isFields(value) && typeof value.message === "string") said = `: ${value.message}`;
  } catch {
    // One line of plain text is an answer too; else the number will do.
    if (/^[^<{\n]+$/.test(content)) said = `: ${content}`;
  }
  const retryAfter = Number(response.headers.get("retry-after") ?? 0);
  const wait = Number.isFinite(retryAfter) ? Math.min(Math.max(retryAfter, 0), 300) * 1000 : 0;
  const { status } = response;
  const more = said.slice(0, 300) + (status === 401 ? doubt : "");
  return new ApiError(status, `answered ${path} with ${status}${more}`, wait);
}

function urlPath(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return path;
  return `${path}?${new URLSearchParams(given.map(([key, value]) => [key, String(value)]))}`;
}

/** Deno wraps what happened in several layers, of causes or of words by its version; the innermost tells. */
function connectionReason(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  const message = inner instanceof Error ? inner.message : String(inner);
  const reason = message.replace(/^error sending request for url \([^)]*\):? ?/, "")
    .replace(/^client error \(\w+\): /, "").replaceAll(/^(tcp connect error: )+/g, "");
  return `cannot be reached: ${reason === "" ? "the connection failed" : reason}`;
}
