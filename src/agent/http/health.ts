/**
 * The agent's HTTP server, on loopback:
 *
 *   /livez    the agent runs. For a liveness probe: an API server that is away is no reason to restart agents.
 *   /readyz   the maps are in sync with the cluster. For a readiness probe and for rolling updates.
 *   /healthz  all checks, that of the connection to the API server too.
 *   /metrics  for Prometheus.
 *   /debug/   control.ts
 *   /ui/      ui_page.ts, with the setting `ui`
 *
 * The response is text, a line a check, as that of Kubernetes components.
 */
import type { Peer } from "./control.ts";
import type { Log } from "../log.ts";
import type { UiPage } from "./ui_page.ts";
import { HttpServer } from "../http_server.ts";
import { type Clock, systemClock } from "../runner.ts";
import { splitHostPort } from "../../net/host_port.ts";

/** One line of /healthz. */
export interface Check {
  name: string;
  /** What is wrong; undefined: nothing. */
  failure?: string | undefined;
  /** Part of /readyz too. */
  ready?: boolean;
}

interface HealthOptions {
  /** `127.0.0.1:9879`, or `off`. */
  address: string;
  checks: () => readonly Check[];
  /** Metrics in Prometheus' text format, and its content type. */
  metrics?: () => Promise<{ text: string; type: string }>;
  /** Below /debug/; undefined: not found. */
  control?: (request: Request, peer: Peer) => Promise<Response | undefined>;
  /** Below /ui/. */
  page?: Pick<UiPage, "reply" | "stop">;
  log: Log;
  clock?: Clock;
}

/** Milliseconds until an address is tried again that could not be listened at. */
const retryMs = 5000;

export class HealthServer {
  readonly #clock: Clock;
  #server: HttpServer | undefined;
  #timer: unknown;
  #logged = false;
  readonly #options: HealthOptions;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Where it listens; undefined: nowhere. */
  get port(): number | undefined {
    return this.#server?.address.port;
  }

  /** Never throws: an address that is taken is logged, and tried again. */
  start() {
    const { address, log } = this.#options;
    if (address === "off") return;
    const { address: hostname, port } = splitHostPort(address);
    try {
      this.#server = new HttpServer(
        { hostname, port },
        (request, from) => this.#reply(request, from),
      );
    } catch (error) {
      const reason = error instanceof Deno.errors.AddrInUse
        ? "another process listens there"
        : (error as Error).message;
      if (!this.#logged) {
        const text =
          `cannot listen at ${address} for health and metrics: ${reason}; give another --health-address`;
        log.warn({ event: "HealthAddress" }, text);
      }
      this.#logged = true;
      this.#timer = this.#clock.setTimeout(() => this.start(), retryMs);
    }
  }

  async #reply(request: Request, from: string): Promise<Response> {
    const { checks, control, metrics, page } = this.#options;
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/debug/") && control !== undefined) {
      const reply = await control(request, { from, at: this.#server!.address.hostname });
      if (reply !== undefined) return reply;
    }
    const shown = await page?.reply(request, from);
    if (shown !== undefined) return shown;
    if (pathname !== "/metrics" || metrics === undefined) return healthResponse(request, checks());
    if (!["GET", "HEAD"].includes(request.method)) return text(405, "GET or HEAD\n");
    return await metrics().then(
      ({ text: body, type }) => new Response(body, { headers: { "content-type": type } }),
      (error) => {
        this.#options.log.error({ err: error }, "cannot collect the metrics");
        return text(500, "the metrics cannot be collected; see the agent's log\n");
      },
    );
  }

  async stop() {
    this.#clock.clearTimeout(this.#timer);
    this.#options.page?.stop(); // or its streams keep close() waiting
    await this.#server?.close();
    this.#server = undefined;
  }
}

/** The response to a request. */
export function healthResponse(request: Request, checks: readonly Check[]): Response {
  const { pathname } = new URL(request.url);
  const asked =
    { "/livez": [], "/readyz": checks.filter(({ ready }) => ready), "/healthz": checks }[
      pathname
    ];
  if (asked === undefined) {
    return text(404, "not found; try /healthz, /readyz, /livez or /metrics\n");
  }
  if (!["GET", "HEAD"].includes(request.method)) return text(405, "GET or HEAD\n");
  const lines = asked.map(({ name, failure }) =>
    failure === undefined ? `[+]${name} ok\n` : `[-]${name} failed: ${failure}\n`
  );
  const good = asked.every(({ failure }) => failure === undefined);
  const last = good ? "ok\n" : `${pathname.slice(1)} failed\n`;
  return text(good ? 200 : 503, lines.join("") + last);
}

function text(status: number, body: string): Response {
  const headers = {
    "content-type": "text/plain; charset=utf-8",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
  };
  return new Response(body, { status, headers });
}
