/**
 * A double of the API server for tests of faults and races: objects in memory, versions, paged lists, watches with
 * bookmarks and a history that can be forgotten. HTTP over loopback. A test may take any request out of its hands.
 *
 * What it does the real server was seen to do (Kubernetes 1.20.2); tests of what the server itself means run against the
 * real one.
 */

interface StoredObject {
  kind: string;
  apiVersion: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    [key: string]: unknown;
  };
  [key: string]: unknown;
}

interface Event {
  version: number;
  path: string;
  type: "ADDED" | "MODIFIED" | "DELETED";
  object: StoredObject;
  /** Before a change. */
  before?: StoredObject;
}

interface Watch {
  path: string;
  selector: string;
  send(line: string): void;
  end(): void;
}

const kinds: Record<string, [path: string, apiVersion: string]> = {
  Service: ["/api/v1/services", "v1"],
  Node: ["/api/v1/nodes", "v1"],
  Pod: ["/api/v1/pods", "v1"],
  Endpoints: ["/api/v1/endpoints", "v1"],
  EndpointSlice: ["/apis/discovery.k8s.io/v1/endpointslices", "discovery.k8s.io/v1"],
};

/** What a test does with a request: its own answer, or undefined to leave it to the server. */
export type Intercept = (
  url: URL,
  request: Request,
) => Response | Promise<Response> | undefined;

export class ApiServer implements AsyncDisposable {
  #port: number;
  /** `LIST services`, `WATCH services 17`, in the order they came. */
  readonly requests: string[] = [];
  /** Watches under way. */
  readonly watches = new Set<Watch>();
  /** Told of each request, and of each watch that has begun. */
  onRequest = () => {};
  intercept: Intercept = () => undefined;
  /** Whether discovery.k8s.io/v1 is served. */
  slices = true;
  /** Events are not sent to open watches: half-open connections. */
  mute = false;
  #version = 10;
  #oldest = 0;
  #history: Event[] = [];
  readonly #objects = new Map<string, Map<string, StoredObject>>();
  #server: Deno.HttpServer<Deno.NetAddr>;
  /** Shutting down waits for answers under way, so a watch that comes meanwhile must end by itself. */
  #isDown = false;

  constructor(port = 0) {
    this.#port = port;
    this.#server = this.#listen();
    this.#port = this.#server.addr.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Creates or changes an object. */
  put(kind: string, name: string, rest: Record<string, unknown> = {}, meta: object = {}) {
    const [path, apiVersion] = kinds[kind]!;
    const version = ++this.#version;
    const namespace = kind === "Node" ? {} : { namespace: "default" };
    const metadata = { name, ...namespace, ...meta, resourceVersion: `${version}` };
    const object: StoredObject = { kind, apiVersion, metadata, ...rest };
    const all = this.#all(path);
    const before = all.get(name);
    const type = before === undefined ? "ADDED" : "MODIFIED";
    all.set(name, object);
    this.#happened({ version, path, type, object, before });
  }

  remove(kind: string, name: string) {
    const [path] = kinds[kind]!;
    const object = this.#all(path).get(name)!;
    this.#all(path).delete(name);
    const version = ++this.#version;
    const metadata = { ...object.metadata, resourceVersion: `${version}` };
    this.#happened({ version, path, type: "DELETED", object: { ...object, metadata } });
  }

  /** Removes without a word, as if the events of it were lost. */
  loseObject(kind: string, name: string) {
    this.#all(kinds[kind]![0]).delete(name);
    this.#version++;
  }

  /** Forgets what happened so far: watches and pages from before are too old. */
  compact() {
    this.#history = [];
    this.#oldest = ++this.#version;
  }

  bookmark() {
    for (const { path, send } of this.watches) {
      const [kind, [, apiVersion]] = Object.entries(kinds).find(([, [one]]) => one === path)!;
      const metadata = { resourceVersion: `${this.#version}`, creationTimestamp: null };
      send(JSON.stringify({ type: "BOOKMARK", object: { kind, apiVersion, metadata } }));
    }
  }

  /** Sends a line to all watches of a kind. */
  sendRaw(kind: string, line: string) {
    for (const { path, send } of this.watches) if (path === kinds[kind]![0]) send(line);
  }

  /** Ends all watches. */
  cut() {
    for (const watch of [...this.watches]) watch.end();
  }

  /** Stops listening. */
  async down() {
    const server = this.#server;
    this.#isDown = true;
    this.cut();
    await server.shutdown();
  }

  /** At the port it had before. */
  up() {
    this.#isDown = false;
    this.#server = this.#listen();
  }

  async [Symbol.asyncDispose]() {
    this.intercept = () => undefined;
    await this.down();
  }

  #listen() {
    return Deno.serve(
      { hostname: "127.0.0.1", port: this.#port, onListen: () => {} },
      (request) => this.#answer(request),
    );
  }

  #all(path: string): Map<string, StoredObject> {
    const found = this.#objects.get(path) ?? new Map<string, StoredObject>();
    this.#objects.set(path, found);
    return found;
  }

  #happened(event: Event) {
    this.#history.push(event);
    if (this.mute) return;
    for (const watch of this.watches) if (watch.path === event.path) sendEvent(watch, event);
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const { pathname, searchParams } = url;
    const name = pathname.split("/").at(-1);
    const isWatch = searchParams.has("watch");
    const from = searchParams.get("resourceVersion");
    this.requests.push(isWatch ? `WATCH ${name} ${from}` : `${request.method} ${name}`);
    this.onRequest();
    const own = await this.intercept(url, request);
    if (own !== undefined) return own;
    if (pathname === "/apis/discovery.k8s.io/v1") {
      if (!this.slices) return status(404, "the server could not find the requested resource");
      return Response.json({ kind: "APIResourceList", resources: [{ name: "endpointslices" }] });
    }
    if (!this.slices && pathname.startsWith("/apis/discovery")) return status(404, "not found");
    return isWatch ? this.#watch(url, Number(from)) : this.#list(url);
  }

  #list(url: URL): Response {
    const { pathname, searchParams } = url;
    const limit = Number(searchParams.get("limit") ?? Infinity);
    const [at = "", after = ""] = (searchParams.get("continue") ?? "").split("/");
    if (at !== "" && Number(at) < this.#oldest) {
      return status(410, "The provided continue parameter is too old", "Expired");
    }
    const selector = searchParams.get("labelSelector") ?? "";
    const rest = [...this.#all(pathname).values()]
      .filter((object) => matches(object, selector))
      .sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1)
      .filter(({ metadata }) => metadata.name > after);
    const items = rest.slice(0, limit);
    const version = at === "" ? `${this.#version}` : at;
    const more = rest.length > items.length ? `${version}/${items.at(-1)!.metadata.name}` : "";
    const [kind, [, apiVersion]] = Object.entries(kinds).find(([, [one]]) => one === pathname)!;
    return Response.json({
      kind: `${kind}List`,
      apiVersion,
      metadata: { resourceVersion: version, continue: more },
      items: items.map(({ kind: _k, apiVersion: _v, ...item }) => item),
    });
  }

  #watch(url: URL, from: number): Response {
    const { pathname, searchParams } = url;
    const encoder = new TextEncoder();
    let watch: Watch;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        watch = {
          path: pathname,
          selector: searchParams.get("labelSelector") ?? "",
          send: (line) => controller.enqueue(encoder.encode(`${line}\n`)),
          end: () => {
            if (this.watches.delete(watch)) controller.close();
          },
        };
        if (from < this.#oldest) {
          const object = statusObject(410, `too old resource version: ${from}`, "Expired");
          watch.send(JSON.stringify({ type: "ERROR", object }));
          return controller.close();
        }
        if (this.#isDown) return controller.close();
        this.watches.add(watch);
        this.onRequest();
        for (const event of this.#history) {
          if (event.path === pathname && event.version > from) sendEvent(watch, event);
        }
      },
      cancel: () => void this.watches.delete(watch),
    });
    return new Response(body, { headers: { "content-type": "application/json" } });
  }
}

/** A change by which an object begins or ceases to match is an addition or a deletion, as the API has it. */
function sendEvent({ selector, send }: Watch, { type, object, before }: Event) {
  const now = matches(object, selector);
  const was = before === undefined ? now : matches(before, selector);
  if (!now && !was) return;
  const seen = was === now ? type : now ? "ADDED" : "DELETED";
  send(JSON.stringify({ type: seen, object }));
}

/** `!key` and `key`, joined by commas. */
function matches({ metadata: { labels = {} } }: StoredObject, selector: string): boolean {
  return selector.split(",").filter((one) => one !== "").every((one) =>
    one.startsWith("!") ? !(one.slice(1) in labels) : one in labels
  );
}

/** An error as the API tells it. */
export function status(code: number, message: string, reason = ""): Response {
  return Response.json(statusObject(code, message, reason), { status: code });
}

function statusObject(code: number, message: string, reason: string) {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, message, reason };
}
