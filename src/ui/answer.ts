/**
 * The page and what it asks for, below /ui/. One implementation for `pcnk ui` and for the agent. All of it reads.
 *
 *   /ui/              the page: index.html, page.js, page.css
 *   /ui/api/counters  reasons with their rates        /ui/api/sessions  ?q= &sort= &offset= &limit=
 *   /ui/api/topology  the chain, devices' rates       /ui/api/status    findings, each with a next step
 *   /ui/api/services  ?q= &sort= &offset= &limit=     /ui/api/events    ?flows=1 &reason= &service= &oneIn=, a stream
 *   /ui/api/service   ?name=, with its backends       /ui/api/why       ?name=, what the cluster says of it
 */
import { readArtifact } from "../bpf/artifacts.ts";
import { NotInstalledError } from "../bpf/dataplane.ts";
import { nodeStatus } from "../view/status.ts";
import type { NodePlace } from "../view/node.ts";
import { BusyError } from "../view/monitor.ts";
import { eventFilter, eventStream } from "./events.ts";
import { cookieName, HEADERS, refusal } from "./guard.ts";
import { BadQuery, listQuery, partOf } from "./list.ts";
import { NodeSnapshots } from "./snapshot.ts";
import type { Problem, ServiceNow, SessionNow, Why } from "./types.ts";

export interface UiOptions extends NodePlace {
  /** This node's name. */
  node: () => string;
  /** The word that opens the page. */
  key: string;
  /** Clients from elsewhere are answered too. */
  remote: boolean;
  /** What the cluster says of a Service. @throws Error with a message for a person when it does not say */
  why: (name: string) => Promise<Why>;
  /** Bytes of a file of the page; the default is what the build has made. */
  asset?: (name: string) => Uint8Array<ArrayBuffer>;
  /** Ends streams. */
  signal: AbortSignal;
}

/** Where the page is. */
export const UI_PATH = "/ui/";

const FILES: Readonly<Record<string, { artifact: string; type: string }>> = {
  "": { artifact: "ui.html", type: "text/html; charset=utf-8" },
  "page.js": { artifact: "ui.js", type: "text/javascript; charset=utf-8" },
  "page.css": { artifact: "ui.css", type: "text/css; charset=utf-8" },
};

type Api = (params: URLSearchParams) => unknown;

/** Answers requests below /ui/, and sends / there. */
export class Ui {
  readonly #snapshots: NodeSnapshots;
  readonly #api: Readonly<Record<string, Api>>;
  /** Caches: however often the user clicks, the API server is asked once. */
  readonly #whys = new AnswerCache<Why>(5000);
  readonly #status = new AnswerCache<unknown>(5000);
  readonly #options: UiOptions;

  constructor(options: UiOptions) {
    this.#options = options;
    const snapshots = this.#snapshots = new NodeSnapshots(options);
    this.#api = {
      counters: () => ({ node: options.node(), counters: snapshots.counters() }),
      topology: () => snapshots.topology(),
      services: (params) =>
        partOf(snapshots.services(), listQuery(params, SERVICE_KEYS), serviceText),
      service: (params) => snapshots.service(nameOf(params)),
      why: (params) => {
        const name = nameOf(params);
        return this.#whys.get(name, () => options.why(name));
      },
      sessions: (params) =>
        partOf(snapshots.sessions(), listQuery(params, SESSION_KEYS), sessionText),
      status: () => this.#readStatus(),
    };
  }

  /** @param from address of the client */
  async answer(request: Request, from: string): Promise<Response> {
    const url = new URL(request.url);
    const refused = refusal(request, from, this.#options);
    if (refused !== undefined) return plain(refused.status, refused.text);
    if (url.searchParams.has("key")) return this.#enter(url);
    if (url.pathname === "/" || url.pathname === "/ui") return redirect(UI_PATH);
    const path = url.pathname.slice(UI_PATH.length);
    if (!url.pathname.startsWith(UI_PATH)) return plain(404, "the page is at /ui/");
    const file = Object.hasOwn(FILES, path) ? FILES[path] : undefined;
    if (file !== undefined) return this.#file(file);
    if (!path.startsWith("api/")) return plain(404, "there is no such page");
    return await this.#ask(path.slice(4), url.searchParams, request.signal);
  }

  /** The key goes from the address bar into a cookie that no script can read. */
  #enter(url: URL): Response {
    const cookie = `${cookieName(url)}=${this.#options.key}; Path=/; HttpOnly; SameSite=Strict`;
    return redirect(UI_PATH, { "set-cookie": cookie });
  }

  #file({ artifact, type }: { artifact: string; type: string }): Response {
    const read = this.#options.asset ?? readArtifact;
    return new Response(read(artifact), { headers: { ...HEADERS, "content-type": type } });
  }

  async #ask(name: string, params: URLSearchParams, gone: AbortSignal): Promise<Response> {
    try {
      if (name === "events") return this.#events(params, gone);
      const api = Object.hasOwn(this.#api, name) ? this.#api[name] : undefined;
      if (api === undefined) return json(404, { error: "there is no such question" });
      const found = await api(params);
      return found === undefined
        ? json(404, { error: "the kernel has none of that name" })
        : json(200, found);
    } catch (error) {
      return problem(error);
    }
  }

  #events(params: URLSearchParams, gone: AbortSignal): Response {
    const until = AbortSignal.any([this.#options.signal, gone]);
    const stream = eventStream(this.#options, eventFilter(params), until);
    return new Response(stream, { headers: { ...HEADERS, "content-type": "text/event-stream" } });
  }

  /** Peers are asked for an answer, which takes up to a second: never twice at a time. */
  #readStatus(): Promise<unknown> {
    const { bpffs, stateDir } = this.#options;
    return this.#status.get("", async () => ({
      findings: await nodeStatus({ bpffs, stateDir, peers: 16, timeoutMs: 1000 }),
    }));
  }
}

const SERVICE_KEYS: readonly (keyof ServiceNow)[] = [
  ...["name", "backends", "sessions", "active", "opened"] as const,
];
const SESSION_KEYS: readonly (keyof SessionNow)[] = [
  ...["protocol", "client", "to", "backend", "state", "idleSeconds", "service"] as const,
];

/** `is:refusing` finds Services that refuse. */
const serviceText = ({ name, frontends, refuses, active }: ServiceNow) =>
  [name, ...frontends, refuses ? "is:refusing" : "", active > 0 ? "is:active" : ""].join(" ");
const sessionText = (
  { protocol, client, to, backend, as, state, namespace, service, pod, kind }: SessionNow,
) => [protocol, client, to, backend, as, state, `${namespace}/${service}`, pod, kind].join(" ");

/** @throws {BadQuery} */
function nameOf(params: URLSearchParams): string {
  const name = params.get("name") ?? "";
  if (!/^[^/]*\/[^/]+$/.test(name) || name.length > 400) {
    throw new BadQuery("name must be namespace/name");
  }
  return name;
}

function problem(error: unknown): Response {
  const text = (error as Error).message;
  if (error instanceof BadQuery) return json(400, { error: text });
  if (error instanceof BusyError) return json(409, { error: text });
  if (error instanceof NotInstalledError) {
    const next = "start the agent once; after that the data plane works without it";
    return json(503, { error: text, next });
  }
  return json(500, { error: text });
}

function json(status: number, value: Problem | unknown): Response {
  const headers = { ...HEADERS, "content-type": "application/json" };
  return new Response(JSON.stringify(value), { status, headers });
}

function plain(status: number, text: string): Response {
  const headers = { ...HEADERS, "content-type": "text/plain; charset=utf-8" };
  return new Response(`${text}\n`, { status, headers });
}

function redirect(location: string, more: Record<string, string> = {}): Response {
  return new Response(null, { status: 303, headers: { ...HEADERS, ...more, location } });
}

/** Answers that are on their way or within their time to live. */
class AnswerCache<T> {
  readonly #entries = new Map<string, { until: number; answer: Promise<T> }>();

  /** Milliseconds from the question on. */
  readonly #ms: number;

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** One that failed is not cached. */
  get(name: string, ask: () => Promise<T>): Promise<T> {
    const now = performance.now();
    for (const [key, { until }] of this.#entries) if (until < now) this.#entries.delete(key);
    const known = this.#entries.get(name);
    if (known !== undefined) return known.answer;
    const answer = ask();
    const entry = { until: now + this.#ms, answer };
    this.#entries.set(name, entry);
    answer.catch(() => {
      if (this.#entries.get(name) === entry) this.#entries.delete(name);
    });
    return answer;
  }
}
