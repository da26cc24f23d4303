/** Deno's HTTP client, replaced when certificates change or a connection may be dead. */
import { type Access, AccessError } from "./access.ts";
import { proxyVariable } from "./proxy.ts";
import { checkedTls, expiredAt, type Tls } from "./tls_material.ts";
import { type Way, wayTo } from "./tunnel.ts";

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
  #tls: Tls = {};
  /** Why newer material is not used. */
  #refused: string | undefined;
  #way: Way | undefined;
  #closed = false;

  constructor(access: Access) {
    this.#access = access;
  }

  /** @throws {AccessError} when the first material cannot be used, and what fetch throws */
  async fetch(path: string, init: RequestInit, tls: Tls): Promise<Response> {
    if (this.#closed) throw new Error("it was ended");
    const client = this.#current(tls);
    return await fetch((this.#way?.base ?? this.#access.server) + path, { ...init, client });
  }

  /** For messages about a failed connection: the proxy that may be to blame; empty without one. */
  get through(): string {
    const { proxyUrl, server } = this.#access;
    if (proxyUrl !== undefined) return `, by way of the proxy ${new URL(proxyUrl).host}`;
    const variable = proxyVariable(new URL(server));
    return variable === undefined ? "" : ` (${variable} is set)`;
  }

  /** For messages about a refusal: what is wrong with the client's certificate; empty when nothing is. */
  get doubt(): string {
    if (this.#refused !== undefined) {
      return `; the certificate read before is still used: ${this.#refused}`;
    }
    const end = expiredAt(this.#tls);
    return end === undefined ? "" : `; the client certificate expired at ${end}`;
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
    try {
      this.#tls = checkedTls(tls, this.#access);
      this.#refused = undefined;
      this.#material = material;
    } catch (error) {
      // Files are being replaced one after the other: until they fit together again the former ones serve.
      if (this.#client === undefined || !(error instanceof AccessError)) throw error;
      this.#refused = error.message;
      if (this.#material !== undefined) return this.#client;
      this.#material = "";
    }
    this.#release();
    return this.#client = this.#make(this.#tls);
  }

  #make({ ca, cert, key }: Tls): Deno.HttpClient {
    const { proxyUrl } = this.#access;
    const identity = cert === undefined || key === undefined ? {} : { cert, key };
    this.#way = wayTo(this.#access, identity);
    const proxy = this.#way?.proxy ?? (proxyUrl === undefined ? undefined : { url: proxyUrl });
    const options = { http2: false, caCerts: ca === undefined ? [] : [ca], ...identity };
    if (proxy === undefined) return Deno.createHttpClient(options);
    return withoutNoProxy(() => Deno.createHttpClient({ ...options, proxy }));
  }
}
