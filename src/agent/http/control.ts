/**
 * Inspects and controls a running agent, on the server of its health:
 *
 *   GET /debug/state       sources and watches, as JSON. For pcnk status.
 *   GET /debug/log-level   the level.
 *   PUT /debug/log-level   changes it until the agent ends, or until the configuration file changes logLevel.
 *
 * Pages in a browser are refused: the Host must be a literal address or localhost (against DNS rebinding), and a request with
 * an Origin is forbidden. PUT must come from this node, with the token of the state directory, which only root can read.
 */
import { timingSafeEqual } from "node:crypto";
import { logLevelWords } from "../../config/kinds.ts";
import { hostAddress } from "../../net/host_port.ts";
import { isLoopback } from "../../net/scope.ts";
import type { AgentConfig } from "../../config/schema.ts";
import type { AgentState, WatchState } from "../../model/agent_state.ts";
import type { Log } from "../log.ts";
import type { SourceChoice } from "../sources/object_source.ts";

interface ControlOptions {
  /** Bearer token of PUT. */
  token: string;
  log: Pick<Log, "level" | "info">;
  state: () => AgentState;
}

/** Where a request came from, and to. */
export interface Peer {
  /** Address of the client. */
  from: string;
  /** Address that the server listens at; a client with the same one is on this node. */
  at: string;
}

/** The response to a request below /debug/; undefined: the request is for another path. */
export async function controlReply(
  request: Request,
  peer: Peer,
  options: ControlOptions,
): Promise<Response | undefined> {
  const { hostname, pathname } = new URL(request.url);
  if (!pathname.startsWith("/debug/")) return undefined;
  if (request.headers.has("origin") || !isLiteral(hostname)) {
    return text(403, "web pages are refused: use curl or pcnk, with an IP address\n");
  }
  const reads = request.method === "GET" || request.method === "HEAD";
  if (pathname === "/debug/state") {
    return reads ? json(options.state()) : text(405, "GET or HEAD\n");
  }
  if (pathname !== "/debug/log-level") {
    return text(404, "not found; try /debug/state or /debug/log-level\n");
  }
  if (reads) return text(200, `${options.log.level}\n`);
  if (request.method !== "PUT") return text(405, "GET, HEAD or PUT\n");
  return await changeLevel(request, peer, options);
}

async function changeLevel(
  request: Request,
  { from, at }: Peer,
  { token, log }: ControlOptions,
): Promise<Response> {
  if (!isLoopback(from) && from !== at) return text(403, "only from this node\n");
  if (!knows(request.headers.get("authorization"), token)) {
    return text(401, "needs the token of agent.json: pcnk log-level LEVEL\n");
  }
  const wanted = (await request.text()).trim();
  if (!logLevelWords.includes(wanted)) {
    return text(400, `it must be one of ${logLevelWords.join(", ")}\n`);
  }
  log.info({ level: wanted }, "the log level is changed");
  log.level = wanted;
  return text(200, `${wanted}\n`);
}

/** What GET /debug/state gives. */
export function agentState(
  logLevel: string,
  { etcd_url }: Pick<AgentConfig, "etcd_url">,
  choice: SourceChoice,
  watches: readonly WatchState[],
): AgentState {
  const source = "access" in choice ? { server: choice.access.server } : choice;
  return { logLevel, source, etcd: etcd_url?.map(withoutPassword), watches };
}

/** A URL may carry a user and a password. */
function withoutPassword(url: string): string {
  return url.replace(/\/\/[^/@]*@/, "//");
}

function knows(given: string | null, token: string): boolean {
  const [one, other] = [`Bearer ${token}`, given ?? ""].map((text) =>
    new TextEncoder().encode(text)
  );
  return one!.length === other!.length && timingSafeEqual(one!, other!);
}

/** No name but localhost: names can be made to point anywhere (DNS rebinding). */
function isLiteral(hostname: string): boolean {
  return hostname === "localhost" || hostAddress(hostname) !== undefined;
}

const headers = { "x-content-type-options": "nosniff", "cache-control": "no-store" };

function json(value: unknown): Response {
  return new Response(JSON.stringify(value) + "\n", {
    headers: { ...headers, "content-type": "application/json" },
  });
}

function text(status: number, body: string): Response {
  return new Response(body, {
    status,
    headers: { ...headers, "content-type": "text/plain; charset=utf-8" },
  });
}
