/** Deno's HTTP client, replaced when certificates change or a connection may be dead. */
import type { Access } from "./access.ts";
import type { Credentials } from "./credentials.ts";
import { type Way, wayTo } from "./tunnel.ts";

type Tls = Pick<Credentials, "ca" | "cert" | "key">;

const proxyVariables = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/**
 * NO_PROXY is about the proxies of the environment; Deno applies it to one that is given as well (2.6.8). It is read at once, when a
 * client is made.
 */
function withoutNoProxy<T>(make: () => T): T {
  const names = ["NO_PROXY", "no_proxy"];
  const before = names.map((name) => [name, Deno.env.get(name)] as const);
  for (const name of names) Deno.env.delete(name);
  try {
    return make();
  } finally {
    for (const [name, value] of before) if (value !== undefined) Deno.env.set(name, value);
  }
}

export class Transport {
  readonly #access: Access;
  #client: Deno.HttpClient | undefined;
  /** What the client was made of. */
  #material: string | undefined;
  #way: Way | undefined;
  #closed = false;

  constructor(access: Access) {
    this.#access = access;
  }

  /** @throws what fetch throws */
  async fetch(path: string, init: RequestInit, tls: Tls): Promise<Response> {
    if (this.#closed) throw new Error("it was ended");
    const client = this.#current(tls);
    return await fetch((this.#way?.base ?? this.#access.server) + path, { ...init, client });
  }

  /** For messages about a failed connection: the proxy that may be to blame; empty without one. */
  get through(): string {
    const { proxyUrl } = this.#access;
    if (proxyUrl !== undefined) return `, by way of the proxy ${new URL(proxyUrl).host}`;
    const variable = proxyVariables.find((name) => Deno.env.get(name));
    return variable === undefined || this.#way !== undefined ? "" : ` (${variable} is set)`;
  }

  /** Connections that are kept are not used again; those in use go on. */
  renew() {
    this.#material = undefined;
  }

  close() {
    this.#closed = true;
    this.#release();
  }

  #release() {
    this.#client?.close();
    this.#client = undefined;
    this.#way?.close();
    this.#way = undefined;
  }

  #current(tls: Tls): Deno.HttpClient {
    const material = JSON.stringify(tls);
    if (this.#client !== undefined && material === this.#material) return this.#client;
    this.#release();
    const { ca, cert, key } = tls;
    const { proxyUrl } = this.#access;
    const identity = cert === undefined || key === undefined ? {} : { cert, key };
    this.#way = wayTo(this.#access, identity);
    const proxy = this.#way?.proxy ?? (proxyUrl === undefined ? undefined : { url: proxyUrl });
    const options = { http2: false, caCerts: ca === undefined ? [] : [ca], ...identity };
    this.#client = proxy === undefined
      ? Deno.createHttpClient(options)
      : withoutNoProxy(() => Deno.createHttpClient({ ...options, proxy }));
    this.#material = material;
    return this.#client;
  }
}
