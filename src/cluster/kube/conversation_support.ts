/** A recorded conversation with a real API server, and a server that says it again; for tests. */

/** One request and what was answered. */
interface Exchange {
  /** Path and query, without what differs from run to run. */
  request: string;
  status: number;
  /** The body; a watch's in lines. */
  lines: string[];
}

export interface Conversation {
  /** Version of the server that was recorded. */
  server: string;
  exchanges: Exchange[];
  /** Services that are there in the end, as `name port`. */
  services: string[];
}

/** A request as it is recorded: the timeout is by chance, a version depends on the server's history. */
export function requestKey(url: URL): string {
  const query = new URLSearchParams(url.search);
  for (const key of ["timeoutSeconds", "resourceVersion", "continue"]) query.delete(key);
  return `${url.pathname}?${query}`;
}

/** Answers each request as it was answered then, in the same order; the last watch of each kind stays open. */
export class Replay implements AsyncDisposable {
  readonly #left: Exchange[];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #ends = new Set<() => void>();
  /** Requests that were not made then. */
  readonly strange: string[] = [];

  constructor({ exchanges }: Conversation) {
    this.#left = [...exchanges];
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      return this.#answer(requestKey(new URL(request.url)));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose]() {
    for (const end of this.#ends) end();
    await this.#server.shutdown();
  }

  #answer(key: string): Response {
    const i = this.#left.findIndex(({ request }) => request === key);
    const [exchange] = i < 0 ? [] : this.#left.splice(i, 1);
    if (exchange === undefined) {
      this.strange.push(key);
      return new Response("", { status: 500 });
    }
    const { status, lines } = exchange;
    const isLast = key.includes("watch=1") && !this.#left.some(({ request }) => request === key);
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controller.enqueue(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
        const end = () => {
          if (this.#ends.delete(end)) controller.close();
        };
        this.#ends.add(end);
        if (!isLast) end();
      },
      cancel: () => this.#ends.clear(),
    });
    return new Response(body, { status });
  }
}
