/**
 * What probes and people ask of the agent, over HTTP on loopback:
 *
 *   /livez    it runs. For a liveness probe: an API server that is away is no reason to restart agents.
 *   /readyz   what the cluster says is in the maps. For a readiness probe and for rolling updates.
 *   /healthz  everything is as it should be, the connection to the API server too; else which is not.
 *   /metrics  for Prometheus.
 *   /debug/   control.ts
 *   /ui/      ui_page.ts, where the setting `ui` wants it
 *
 * The answer is text, a line a check, as the Kubernetes components give it.
 */
import type { Peer } from "./control.ts";
import type { Log } from "../log.ts";
import type { UiPage } from "./ui_page.ts";
import { type Clock, systemClock } from "../runner.ts";
import { splitHostPort } from "../../net/host_port.ts";

/** One thing that is as it should be, or not. */
export interface Check {
  name: string;
  /** What is wrong; undefined: nothing. */
  failure?: string | undefined;
  /** Whether the node is not ready without it. */
  ready?: boolean;
}

interface HealthOptions {
  /** `127.0.0.1:9879`, or `off`. */
  address: string;
  checks: () => readonly Check[];
  /** Metrics in Prometheus' text format, and its content type. */
  metrics?: () => Promise<{ text: string; type: string }>;
  /** What is answered before all that; undefined: not its business. */
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
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;
  #timer: unknown;
  #told = false;
  readonly #options: HealthOptions;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Where it listens; undefined: nowhere. */
  get port(): number | undefined {
    return this.#server?.addr.port;
  }

  /** Never throws: an address that is taken is told, and tried again. */
  start() {
    const { address, log } = this.#options;
    if (address === "off") return;
    const { address: hostname, port } = splitHostPort(address);
    try {
      this.#server = Deno.serve(
        { hostname, port, onListen: () => {} },
        (request, { remoteAddr }) => this.#answer(request, remoteAddr.hostname),
      );
    } catch (error) {
      const reason = error instanceof Deno.errors.AddrInUse
        ? "another process listens there"
        : (error as Error).message;
      if (!this.#told) {
        const text = `health is not told at ${address}: ${reason}; give another --health-address`;
        log.warn({ event: "HealthAddress" }, text);
      }
      this.#told = true;
      this.#timer = this.#clock.setTimeout(() => this.start(), retryMs);
    }
  }

  async #answer(request: Request, from: string): Promise<Response> {
    const { checks, control, metrics, page } = this.#options;
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/debug/") && control !== undefined) {
      const answer = await control(request, { from, at: this.#server!.addr.hostname });
      if (answer !== undefined) return answer;
    }
    const shown = await page?.reply(request, from);
    if (shown !== undefined) return shown;
    if (pathname !== "/metrics" || metrics === undefined) return healthAnswer(request, checks());
    if (!["GET", "HEAD"].includes(request.method)) return text(405, "GET or HEAD\n");
    return await metrics().then(
      ({ text: body, type }) => new Response(body, { headers: { "content-type": type } }),
      (error) => {
        this.#options.log.error({ err: error }, "metrics could not be collected");
        return text(500, "metrics could not be collected; the agent's log says why\n");
      },
    );
  }

  async stop() {
    this.#clock.clearTimeout(this.#timer);
    this.#options.page?.stop(); // or its streams keep shutdown() waiting
    await this.#server?.shutdown();
    this.#server = undefined;
  }
}

/** The answer to a request, given how things stand. */
export function healthAnswer(request: Request, checks: readonly Check[]): Response {
  const { pathname } = new URL(request.url);
  const asked =
    { "/livez": [], "/readyz": checks.filter(({ ready }) => ready), "/healthz": checks }[
      pathname
    ];
  if (asked === undefined) return text(404, "there are /healthz, /readyz, /livez and /metrics\n");
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
