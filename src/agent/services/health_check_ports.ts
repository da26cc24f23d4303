/**
 * Replies to load balancers at a Service's healthCheckNodePort whether this node has endpoints for it, as kube-proxy
 * does: 200 or 503, the same JSON, the same headers. Any path, any method.
 */
import type { HealthCheck } from "../../services/desired.ts";
import { HttpServer } from "../http_server.ts";
import type { Log } from "../log.ts";
import { type Clock, systemClock } from "../runner.ts";

interface HealthCheckOptions {
  log: Log;
  /** Whether the data plane is in sync; while not, load balancers must choose other nodes. */
  healthy: () => boolean;
  /** Address to listen at; by default all. */
  hostname?: string;
  clock?: Clock;
}

/** Milliseconds until a port is tried again that could not be listened at. */
const retryMs = 5000;

interface Listener {
  check: HealthCheck;
  /** Undefined: it could not be opened. */
  close?: () => void;
}

/** The response for one Service. */
function healthResponse(
  { namespace, name, localEndpoints }: HealthCheck,
  healthy: boolean,
): Response {
  const body = {
    service: { namespace, name },
    localEndpoints,
    serviceProxyHealthy: healthy,
  };
  return new Response(JSON.stringify(body, null, "\t"), {
    status: healthy && localEndpoints > 0 ? 200 : 503,
    headers: {
      "content-type": "application/json",
      "x-content-type-options": "nosniff",
      "x-load-balancing-endpoint-weight": `${localEndpoints}`,
    },
  });
}

export class HealthCheckPorts {
  readonly #listeners = new Map<number, Listener>();
  readonly #clock: Clock;
  #timer: unknown;
  readonly #options: HealthCheckOptions;

  constructor(options: HealthCheckOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Listens at exactly these ports. Never throws: a port that is taken is logged, and tried again. */
  update(checks: ReadonlyMap<number, HealthCheck>) {
    for (const [port, listener] of this.#listeners) {
      if (checks.has(port)) continue;
      listener.close?.();
      this.#listeners.delete(port);
    }
    for (const [port, check] of checks) {
      const known = this.#listeners.get(port);
      if (known !== undefined) known.check = check;
      else this.#open(port, { check });
    }
    this.#retryLater();
  }

  stop() {
    this.#clock.clearTimeout(this.#timer);
    this.update(new Map());
  }

  #open(port: number, listener: Listener) {
    const { hostname = "0.0.0.0", healthy } = this.#options;
    const isNew = this.#listeners.get(port) !== listener;
    this.#listeners.set(port, listener);
    try {
      const server = new HttpServer(
        { port, hostname },
        () => healthResponse(listener.check, healthy()),
      );
      listener.close = () => void server.close();
      if (!isNew) this.#log(port, listener, "info", "is free now: health checks are answered");
    } catch (error) {
      if (!isNew) return;
      const reason = error instanceof Deno.errors.AddrInUse
        ? "another process listens there"
        : (error as Error).message;
      const text = `cannot be listened at: ${reason}; load balancers take this node for unhealthy`;
      this.#log(port, listener, "warn", text);
    }
  }

  #log(port: number, { check }: Listener, level: "info" | "warn", text: string) {
    const object = `Service ${check.namespace}/${check.name}`;
    this.#options.log[level](
      { event: "HealthCheckPort", object },
      `healthCheckNodePort ${port} ${text}`,
    );
  }

  #retryLater() {
    const failed = [...this.#listeners].filter(([, { close }]) => close === undefined);
    this.#clock.clearTimeout(this.#timer);
    if (failed.length === 0) return;
    this.#timer = this.#clock.setTimeout(() => {
      for (const [port, listener] of failed) {
        if (this.#listeners.get(port) === listener) this.#open(port, listener);
      }
      this.#retryLater();
    }, retryMs);
  }
}
