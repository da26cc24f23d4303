/** A server that is down, slow, or sends malformed responses: what was read stays in effect, and the source recovers by itself. */
import assert from "node:assert/strict";
import { Place, serviceSpec, title, withPlace } from "./place_support.ts";
import { type Intercept, status } from "./server_support.ts";

const lists = ({ pathname, searchParams }: URL) =>
  pathname === "/api/v1/services" && !searchParams.has("watch");
const watches = ({ pathname, searchParams }: URL) =>
  pathname === "/api/v1/services" && searchParams.has("watch");
/** Never answers, until the client gives up. */
const silence = (request: Request) =>
  new Promise<Response>((done) =>
    request.signal.addEventListener("abort", () => done(new Response("late")))
  );

/** One object that must outlive whatever comes. */
async function withOne(place: Place) {
  place.api.put("Service", "a", serviceSpec());
  await place.started();
}

function nothingLost({ sink }: Place) {
  assert.ok(!sink.log.some((line) => line.startsWith("delete")), sink.log.join("\n"));
}

/** Makes the server do this to lists after a gap; returns when the source has noticed. */
async function badLists(place: Place, intercept: Intercept) {
  await withOne(place);
  place.api.intercept = intercept;
  place.api.mute = true;
  place.api.put("Service", "b", serviceSpec());
  place.api.compact();
  place.api.mute = false;
  place.api.cut();
  await place.sink.until(() => place.source.trouble !== undefined);
}

async function recovers(place: Place) {
  const { api, sink, source } = place;
  api.intercept = () => undefined;
  await sink.until(() => sink.objects.has(title("b")) && sink.log.includes(`recovered ${api.url}`));
  assert.equal(source.trouble, undefined);
  nothingLost(place);
  const problems = sink.log.filter((line) => line.startsWith("problem"));
  assert.equal(problems.length, 1, "told once");
  return problems[0]!;
}

const rubbish: Record<string, [() => Response, RegExp]> = {
  "a page of HTML": [() => new Response("<html>login</html>"), /that is not a JSON object/],
  "half a list": [() => new Response('{"kind":"ServiceList","items":[{"meta'), /not a JSON object/],
  "an empty object": [() => Response.json({}), /something that is no list/],
  "a list of another kind": [
    () => Response.json({ kind: "PodList", metadata: { resourceVersion: "5" }, items: [] }),
    /something that is no list/,
  ],
  "a list without a version": [
    () => Response.json({ kind: "ServiceList", metadata: {}, items: [] }),
    /something that is no list/,
  ],
  "a list of numbers": [
    () => Response.json({ kind: "ServiceList", metadata: { resourceVersion: "5" }, items: [1] }),
    /no object/,
  ],
  "an object without a name": [
    () => Response.json({ kind: "ServiceList", metadata: { resourceVersion: "5" }, items: [{}] }),
    /metadata\.name/,
  ],
  "a redirect": [
    () => new Response(null, { status: 302, headers: { location: "http://192.0.2.1/" } }),
    /answered \/api\/v1\/services with 302/,
  ],
  "an error": [() => status(500, "etcdserver: no leader"), /with 500: etcdserver: no leader/],
  "a refusal": [() => status(403, "forbidden"), /with 403: forbidden/],
  "an answer that breaks off": [
    () =>
      new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new TextEncoder().encode('{"kind":')),
          pull: (controller) => controller.error(new Error("x")),
        }),
      ),
    /cannot be reached/,
  ],
};
for (const [what, [answer, message]] of Object.entries(rubbish)) {
  withPlace(`KubeSource keeps everything when it is answered ${what}`, async (place) => {
    await badLists(place, (url) => lists(url) ? answer() : undefined);
    nothingLost(place);
    assert.match(await recovers(place), message);
  });
}

withPlace("KubeSource gives up a list that says nothing", async (place) => {
  await badLists(place, (url, request) => lists(url) ? silence(request) : undefined);
  assert.match(await recovers(place), /sent nothing for 0\.1 s; what was read .* stays/);
}, { listSilenceMs: 100 });

withPlace(
  "KubeSource gives up a watch that is silent: its other end may be gone",
  async (place) => {
    const { api, sink } = place;
    await withOne(place);
    api.mute = true;
    api.put("Service", "b", serviceSpec());
    api.remove("Service", "a");
    api.mute = false; // those watches stay open, and what happened is known to new ones only
    await sink.until(() => sink.objects.has(title("b")) && !sink.objects.has(title("a")));
    assert.equal(place.count("GET services"), 1);
  },
  { silenceMs: 150 },
);

withPlace(
  "KubeSource reports nothing of watches that stay silent while nothing changes",
  async (place) => {
    await withOne(place);
    const first = new Set(place.api.watches);
    place.api.mute = true;
    await place.sink.until(() => [...place.api.watches].every((one) => !first.has(one)));
    const { watches } = place.source;
    assert.deepEqual(watches.map(({ reason }) => reason), watches.map(() => undefined));
    assert.equal(place.source.trouble, undefined);
  },
  { silenceMs: 50, goodWatchMs: 60_000 },
);

withPlace("KubeSource gives up a watch that is not answered", async (place) => {
  const { api, sink } = place;
  await withOne(place);
  let asked = 0;
  api.intercept = (url, request) => watches(url) && ++asked < 3 ? silence(request) : undefined;
  api.cut();
  api.put("Service", "b", serviceSpec());
  await sink.until(() => sink.objects.has(title("b")));
}, { silenceMs: 100 });

const nonsense: Record<string, string> = {
  "a line that is no JSON": "<html>",
  "an event of no known type":
    '{"type":"GROWN","object":{"kind":"Service","metadata":{"resourceVersion":"9"}}}',
  "an event of another kind":
    '{"type":"ADDED","object":{"kind":"Secret","metadata":{"name":"x","resourceVersion":"9"}}}',
  "an event without an object": '{"type":"ADDED"}',
  "an event without a version":
    '{"type":"DELETED","object":{"kind":"Service","metadata":{"name":"a"}}}',
  "a version from the future":
    '{"type":"ERROR","object":{"kind":"Status","code":504,"message":"Too large resource version"}}',
};
for (const [what, line] of Object.entries(nonsense)) {
  withPlace(`KubeSource lists anew when a watch brings ${what}`, async (place) => {
    const { api, sink } = place;
    await withOne(place);
    api.loseObject("Service", "a");
    api.put("Service", "b", serviceSpec());
    api.sendRaw("Service", line);
    await sink.until(() => !sink.objects.has(title("a")) && sink.objects.has(title("b")));
    assert.equal(place.count("GET services"), 2);
  });
}

withPlace(
  "KubeSource does not ask a server in circles that ends every watch at once",
  async (place) => {
    const { api, sink } = place;
    await withOne(place);
    api.intercept = (url) => watches(url) ? new Response("") : undefined;
    api.cut();
    await sink.until(() => place.source.trouble !== undefined);
    assert.match(place.source.trouble!.reason, /ended the watch of services at once/);
    const before = place.count("WATCH services");
    await new Promise((done) => setTimeout(done, 200));
    assert.ok(place.count("WATCH services") - before < 25, "each attempt waits");
  },
);

withPlace("KubeSource leaves a server alone for as long as it wants", async (place) => {
  const { api } = place;
  api.intercept = (url) =>
    lists(url) && place.count("GET services") === 1
      ? new Response("", { status: 429, headers: { "retry-after": "1" } })
      : undefined;
  const start = performance.now();
  await place.source.start();
  assert.ok(performance.now() - start >= 1000);
});

withPlace("KubeSource outlives a server that is not there", async (place) => {
  const { api, sink, source } = place;
  await withOne(place);
  await api.down();
  await sink.until(() => source.trouble !== undefined);
  assert.match(source.trouble!.reason, /^http:\/\/127\.0\.0\.1:\d+ cannot be reached: .*refused/);
  nothingLost(place);
  api.put("Service", "b", serviceSpec());
  api.up();
  await sink.until(() => sink.objects.has(title("b")) && source.trouble === undefined);
  assert.equal(place.count("GET services"), 1, "it went on from where it was");
});

Deno.test("KubeSource starts before its server does", async () => {
  await using place = new Place();
  await place.api.down();
  const started = place.source.start();
  await place.sink.until(() => place.source.trouble !== undefined);
  assert.equal(place.source.complete, false);
  place.api.put("Service", "a", serviceSpec());
  place.api.up();
  await started;
  assert.equal(place.ip("a"), "10.96.0.1");
  assert.equal(place.source.complete, true);
});

withPlace("KubeSource ends at once, whatever it waits for", async (place) => {
  place.api.intercept = (url, request) => lists(url) ? silence(request) : undefined;
  const started = place.source.start();
  await place.sink.until(() => place.api.watches.size === 3);
  const start = performance.now();
  await place.source.closeAndWait();
  await started;
  assert.ok(performance.now() - start < 1000);
});

Deno.test("KubeSource asks for smaller pages when one is too large to be read", async () => {
  await using place = new Place();
  const { api, sink } = place;
  api.put("Service", "a", serviceSpec());
  const mebibyte = new TextEncoder().encode(" ".repeat(1 << 20));
  const limits: number[] = [];
  api.intercept = (url) => {
    if (url.pathname !== "/api/v1/services" || url.searchParams.has("watch")) return undefined;
    const limit = Number(url.searchParams.get("limit"));
    limits.push(limit);
    if (limit < 10) return undefined;
    let left = 40;
    const pull = (stream: ReadableStreamDefaultController) =>
      left-- > 0 ? stream.enqueue(mebibyte) : stream.close();
    return new Response(new ReadableStream({ pull }));
  };
  await place.started();
  assert.ok(sink.objects.has(title("a")));
  assert.deepEqual(limits, [500, 62, 7]);
});
