/**
 * A small HTTP/1.1 server (RFC 9112) for health, metrics and the page: one request a connection, all of it bounded. Deno.serve
 * has no time limit for a request that stays incomplete, and its connections take file descriptors until none are left (2.6.8).
 *
 * Limitation: no chunked request bodies, no pipelining, no trailers, no compression.
 */

/** Replies to a request of a client with this address. */
type Handler = (request: Request, from: string) => Response | Promise<Response>;

interface HttpLimits {
  /** Connections at a time; beyond it the oldest one that has no whole request yet is closed, or else the new one. */
  connections: number;
  /** Milliseconds from the connection to the end of the request. */
  requestMs: number;
  /** Milliseconds within which the client must take what is written. */
  writeMs: number;
}

const defaults: HttpLimits = { connections: 128, requestMs: 5000, writeMs: 20_000 };
const maxHeadBytes = 16 << 10;
const maxBodyBytes = 64 << 10;
/** After a failure to accept, such as too many open files. */
const acceptAgainMs = 100;

export class HttpServer {
  readonly #listener: Deno.TcpListener;
  readonly #handler: Handler;
  readonly #limits: HttpLimits;
  /** Without a whole request yet, the oldest first. */
  readonly #waiting = new Set<Deno.TcpConn>();
  readonly #replying = new Set<Promise<void>>();
  #closed = false;

  /** @throws Deno.errors.AddrInUse and others of Deno.listen() */
  constructor(
    at: { hostname: string; port: number },
    handler: Handler,
    limits: Partial<HttpLimits> = {},
  ) {
    this.#listener = Deno.listen(at);
    this.#handler = handler;
    this.#limits = { ...defaults, ...limits };
    void this.#accept();
  }

  get address(): Deno.NetAddr {
    return this.#listener.addr;
  }

  /** Accepts no more; resolves when the replies under way are written. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#listener.close();
    for (const conn of this.#waiting) end(conn);
    await Promise.allSettled(this.#replying);
  }

  async #accept() {
    while (!this.#closed) {
      try {
        this.#take(await this.#listener.accept());
      } catch {
        if (!this.#closed) await new Promise((done) => setTimeout(done, acceptAgainMs));
      }
    }
  }

  #take(conn: Deno.TcpConn) {
    if (this.#waiting.size + this.#replying.size >= this.#limits.connections) {
      const [oldest] = this.#waiting;
      if (oldest === undefined) return end(conn);
      this.#waiting.delete(oldest);
      end(oldest);
    }
    this.#waiting.add(conn);
    const timer = setTimeout(() => end(conn), this.#limits.requestMs);
    void readRequest(conn).then((request) => {
      if (!this.#waiting.delete(conn) || request === undefined) return end(conn);
      const replying: Promise<void> = this.#reply(conn, request).finally(() => {
        end(conn);
        this.#replying.delete(replying);
      });
      this.#replying.add(replying);
    }, () => {
      this.#waiting.delete(conn);
      end(conn);
    }).finally(() => clearTimeout(timer));
  }

  /** Never rejects. */
  async #reply(conn: Deno.TcpConn, request: Request | number) {
    try {
      const response = typeof request === "number"
        ? new Response(null, { status: request })
        : await this.#handle(request, conn.remoteAddr.hostname);
      const bodyless = typeof request !== "number" && request.method === "HEAD";
      await this.#write(conn, response, bodyless);
    } catch {
      // The client is gone, or too slow.
    }
  }

  async #handle(request: Request, from: string): Promise<Response> {
    try {
      return await this.#handler(request, from);
    } catch {
      return new Response(null, { status: 500 });
    }
  }

  async #write(conn: Deno.TcpConn, response: Response, bodyless: boolean) {
    const { status, headers, body } = response;
    const isStream = headers.get("content-type")?.startsWith("text/event-stream") ?? false;
    const whole = isStream ? undefined : new Uint8Array(await response.arrayBuffer());
    const length = whole === undefined ? "" : `content-length: ${whole.length}\r\n`;
    const lines = [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const head = `HTTP/1.1 ${status} ${reasonPhrases[status] ?? ""}\r\n${lines}${length}` +
      `date: ${new Date().toUTCString()}\r\nconnection: close\r\n\r\n`;
    await this.#send(conn, new TextEncoder().encode(head));
    if (bodyless) await body?.cancel();
    else if (whole !== undefined) await this.#send(conn, whole);
    else if (body !== null) await this.#stream(conn, body);
  }

  /** Until its end, or until the client closes the connection. */
  async #stream(conn: Deno.TcpConn, body: ReadableStream<Uint8Array>) {
    const reader = body.getReader();
    const cancel = () => void reader.cancel().catch(() => {});
    void conn.read(new Uint8Array(1)).then(cancel, cancel);
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        await this.#send(conn, value);
      }
    } finally {
      cancel();
    }
  }

  async #send(conn: Deno.TcpConn, data: Uint8Array) {
    for (let done = 0; done < data.length;) {
      const timer = setTimeout(() => end(conn), this.#limits.writeMs);
      try {
        done += await conn.write(data.subarray(done));
      } finally {
        clearTimeout(timer);
      }
    }
  }
}

const reasonPhrases: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  413: "Content Too Large",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
};

function end(conn: Deno.Conn) {
  try {
    conn.close();
  } catch {
    // Closed already.
  }
}

/** A request, or the status that refuses it; undefined: the client closed the connection before it was whole. */
async function readRequest(conn: Deno.TcpConn): Promise<Request | number | undefined> {
  const buffer = new Uint8Array(maxHeadBytes);
  let length = 0, headEnd = -1;
  while (headEnd < 0) {
    if (length === buffer.length) return 431;
    const count = await conn.read(buffer.subarray(length));
    if (count === null) return undefined;
    headEnd = latin1.decode(buffer.subarray(0, length += count)).indexOf("\r\n\r\n");
  }
  const head = parseHead(latin1.decode(buffer.subarray(0, headEnd)), conn.localAddr);
  if (typeof head === "number") return head;
  const { url, method, headers } = head;
  if (headers.has("transfer-encoding")) return 501;
  const size = Number(headers.get("content-length") ?? 0);
  if (!Number.isInteger(size) || size < 0) return 400;
  if (size > maxBodyBytes) return 413;
  const body = new Uint8Array(size);
  const early = buffer.subarray(headEnd + 4, length).subarray(0, size);
  body.set(early);
  for (let have = early.length; have < size;) {
    const count = await conn.read(body.subarray(have));
    if (count === null) return undefined;
    have += count;
  }
  try {
    const hasBody = method !== "GET" && method !== "HEAD";
    return new Request(url, { method, headers, body: hasBody ? body : undefined });
  } catch {
    return 400; // a method that fetch forbids, such as TRACE
  }
}

const latin1 = new TextDecoder("latin1");

function parseHead(text: string, { hostname, port }: Deno.NetAddr) {
  const [line = "", ...fields] = text.split("\r\n");
  const [, method, target] = /^([A-Z]+) (\/\S*) HTTP\/1\.[01]$/.exec(line) ?? [];
  if (method === undefined) return 400;
  const headers = new Headers();
  for (const field of fields) {
    const [, name, value] = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/.exec(field) ?? [];
    if (name === undefined) return 400;
    try {
      headers.append(name, value!);
    } catch {
      return 400;
    }
  }
  const own = hostname.includes(":") ? `[${hostname}]` : hostname;
  const url = `http://${headers.get("host") ?? `${own}:${port}`}${target}`;
  return URL.canParse(url) ? { method, url, headers } : 400;
}
