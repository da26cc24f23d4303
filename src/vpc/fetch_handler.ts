/**
 * The SDK's requests over Deno's fetch. Its own handler sits on Node's http module, has no limit of time by default, and
 * leaves connections open behind it.
 */

/** What the SDK hands over (@smithy/types HttpRequest, as far as it is used). */
interface SdkRequest {
  method: string;
  protocol: string;
  hostname: string;
  port?: number;
  path: string;
  query?: Record<string, string | string[] | null>;
  headers: Record<string, string>;
  body?: unknown;
}

export class FetchHandler {
  readonly #timeoutMs: number;
  readonly #client = Deno.createHttpClient({ http2: false });

  /** @param timeoutMs for a whole request */
  constructor(timeoutMs = 10_000) {
    this.#timeoutMs = timeoutMs;
  }

  async handle(request: SdkRequest) {
    const { method, protocol, hostname, port, path, body } = request;
    const url = `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}${
      queryOf(request)
    }`;
    const headers = new Headers(request.headers);
    headers.delete("host"); // fetch makes it from the URL, the same one that was signed
    headers.delete("content-length");
    const response = await fetch(url, {
      method,
      headers,
      body: body as BodyInit,
      redirect: "manual",
      signal: AbortSignal.timeout(this.#timeoutMs), // its error is named as the SDK expects: TimeoutError
      client: this.#client,
    });
    return {
      response: {
        statusCode: response.status,
        headers: Object.fromEntries(response.headers),
        body: new Uint8Array(await response.arrayBuffer()),
      },
    };
  }

  destroy() {
    this.#client.close();
  }

  /** The SDK asks for these two; there is nothing to set. */
  updateHttpClientConfig() {}
  httpHandlerConfigs() {
    return {};
  }
}

function queryOf({ query = {} }: SdkRequest): string {
  const given = Object.entries(query).flatMap(([key, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => [key, one ?? ""])
  );
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}
