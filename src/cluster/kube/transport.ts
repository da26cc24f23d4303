/** Deno's HTTP client, made anew when certificates change or a connection is in doubt. */
import type { Access } from "./access.ts";
import type { Credentials } from "./credentials.ts";
import { type Way, wayTo } from "./tunnel.ts";

type Tls = Pick<Credentials, "ca" | "cert" | "key">;

export class Transport {
  private client: Deno.HttpClient | undefined;
  /** What the client was made of. */
  private material: string | undefined;
  private way: Way | undefined;
  private closed = false;

  constructor(private readonly access: Access) {}

  /** @throws what fetch throws */
  async fetch(path: string, init: RequestInit, tls: Tls): Promise<Response> {
    if (this.closed) throw new Error("it was ended");
    const client = this.current(tls);
    return await fetch((this.way?.base ?? this.access.server) + path, { ...init, client });
  }

  /** Connections that are kept are not used again; those in use go on. */
  renew() {
    this.material = undefined;
  }

  close() {
    this.closed = true;
    this.release();
  }

  private release() {
    this.client?.close();
    this.client = undefined;
    this.way?.close();
    this.way = undefined;
  }

  private current(tls: Tls): Deno.HttpClient {
    const material = JSON.stringify(tls);
    if (this.client !== undefined && material === this.material) return this.client;
    this.release();
    const { ca, cert, key } = tls;
    const { proxyUrl } = this.access;
    this.way = wayTo(this.access, { ...(cert && key ? { cert, key } : {}) });
    const proxy = this.way?.proxy ?? (proxyUrl === undefined ? undefined : { url: proxyUrl });
    this.client = Deno.createHttpClient({
      http2: false,
      ...(ca === undefined ? {} : { caCerts: [ca] }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
      ...(proxy === undefined ? {} : { proxy }),
    });
    this.material = material;
    return this.client;
  }
}
