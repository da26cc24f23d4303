import { deepEqual, equal, match, ok } from "node:assert/strict";
import "../../tests/support/libraries.ts";
import { Ui, type UiOptions } from "./answer.ts";

const KEY = "0123456789abcdef";
const HOST = "http://127.0.0.1:9880";
const COOKIE = { cookie: `other=1; pcnk_ui_9880=${KEY}` };

function ui(options: Partial<UiOptions> = {}): Ui {
  return new Ui({
    bpffs: "/nonexistent",
    stateDir: "/nonexistent",
    node: () => "node1",
    key: KEY,
    remote: false,
    why: (name) => Promise.resolve({ findings: [{ good: false, text: `${name} has none` }] }),
    asset: (name) => new TextEncoder().encode(name),
    signal: new AbortController().signal,
    ...options,
  });
}

interface Asked {
  method?: string;
  headers?: Record<string, string>;
  from?: string;
  host?: string;
  options?: Partial<UiOptions>;
}

async function ask(path: string, { method = "GET", headers, from, host, options }: Asked = {}) {
  const request = new Request((host ?? HOST) + path, { method, headers: headers ?? COOKIE });
  const answer = await ui(options).answer(request, from ?? "127.0.0.1");
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

Deno.test("Ui serves the page and its two files, each with its type", async () => {
  for (
    const [path, name, type] of [
      ["/ui/", "ui.html", "text/html; charset=utf-8"],
      ["/ui/page.js", "ui.js", "text/javascript; charset=utf-8"],
      ["/ui/page.css", "ui.css", "text/css; charset=utf-8"],
    ] as const
  ) {
    const { status, headers, text } = await ask(path);
    deepEqual([status, text, headers.get("content-type")], [200, name, type]);
  }
  equal((await ask("/")).headers.get("location"), "/ui/");
});

Deno.test("Ui sends a policy that lets nothing in but the page's own files, with every answer", async () => {
  const refused = { headers: {} };
  for (const [path, how] of [["/ui/", {}], ["/ui/api/nothing", {}], ["/ui/", refused]] as const) {
    const { headers } = await ask(path, how);
    const policy = headers.get("content-security-policy") ?? "";
    const parts = policy.split("; ");
    for (const one of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"]) {
      ok(parts.includes(one), `${path}: ${one}`);
    }
    ok(!policy.includes("unsafe"), policy);
    equal(headers.get("x-content-type-options"), "nosniff");
    equal(headers.get("cache-control"), "no-store");
    equal(headers.get("access-control-allow-origin"), null);
  }
});

Deno.test("Ui is opened by its key alone, which becomes a cookie that no script can read", async () => {
  for (const headers of [{}, { cookie: "pcnk_ui_9880=wrong" }, { cookie: `pcnk_ui_1=${KEY}` }]) {
    equal((await ask("/ui/", { headers: headers as Record<string, string> })).status, 401);
    const api = await ask("/ui/api/why?name=a/b", { headers: headers as Record<string, string> });
    equal(api.status, 401);
  }
  equal((await ask("/ui/?key=wrong")).status, 401);
  const opened = await ask(`/ui/?key=${KEY}`, { headers: {} });
  equal(opened.status, 303);
  equal(opened.headers.get("location"), "/ui/"); // the key leaves the address bar
  equal(opened.headers.get("set-cookie"), `pcnk_ui_9880=${KEY}; Path=/; HttpOnly; SameSite=Strict`);
});

Deno.test("Ui answers clients of this node only, unless it was told otherwise", async () => {
  equal((await ask("/ui/", { from: "::1" })).status, 200);
  equal((await ask("/ui/", { from: "192.0.2.7" })).status, 403);
  const remote = { options: { remote: true }, from: "192.0.2.7" };
  equal((await ask("/ui/", { ...remote, host: "http://192.0.2.1:9880" })).status, 200);
});

Deno.test("Ui answers to no name but localhost: a name can be made to point here", async () => {
  for (const host of ["http://evil.example:9880", "http://127.0.0.1.evil.example:9880"]) {
    equal((await ask("/ui/", { host })).status, 403, host);
    equal((await ask(`/ui/?key=${KEY}`, { host })).status, 403, host);
    equal((await ask("/ui/", { host, options: { remote: true } })).status, 403, host);
  }
  equal((await ask("/ui/", { host: "http://192.0.2.1:9880" })).status, 403);
  equal((await ask("/ui/", { host: "http://localhost:9880" })).status, 200);
});

Deno.test("Ui answers nothing that a page of another origin asks", async () => {
  const asked = (headers: Record<string, string>) =>
    ask("/ui/api/why?name=a/b", { headers: { ...COOKIE, ...headers } });
  equal((await asked({ origin: "https://evil.example" })).status, 403);
  equal((await asked({ origin: "http://127.0.0.1:1" })).status, 403);
  equal((await asked({ "sec-fetch-site": "cross-site" })).status, 403);
  equal((await asked({ "sec-fetch-site": "same-site" })).status, 403); // another port of this host
  equal((await asked({ origin: HOST, "sec-fetch-site": "same-origin" })).status, 200);
});

Deno.test("Ui takes GET and HEAD, on every path: nothing changes anything", async () => {
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
    for (const path of ["/ui/", "/ui/api/counters", "/ui/api/events", "/x"]) {
      equal((await ask(path, { method })).status, 405, `${method} ${path}`);
    }
  }
  equal((await ask("/ui/", { method: "HEAD" })).status, 200);
});

Deno.test("Ui has no other paths, whatever they are made of", async () => {
  for (
    const path of [
      ...["/x", "/ui/x", "/ui/ui.html", "/ui/../etc/passwd", "/ui/%2e%2e/%2e%2e/etc/passwd"],
      ...["/ui/toString", "/ui/__proto__", "/ui/api/toString", "/ui/api/constructor", "/ui/api/"],
    ]
  ) equal((await ask(path)).status, 404, path);
});

Deno.test("Ui says what is wrong with a query", async () => {
  for (
    const [path, wrong] of [
      ["service", /name must be/],
      ["service?name=web", /name must be/],
      [`why?name=a/${"b".repeat(500)}`, /name must be/],
      ["events?reason=none_such", /reason must be/],
      ["events?oneIn=0", /oneIn must be/],
      ["events?service=web", /service must be/],
    ] as const
  ) {
    const { status, text } = await ask(`/ui/api/${path}`);
    equal(status, 400, path);
    match(JSON.parse(text).error, wrong);
  }
});

Deno.test("Ui says what to do where no data plane is", async () => {
  for (const name of ["counters", "topology", "services", "sessions"]) {
    const { status, text } = await ask(`/ui/api/${name}`);
    equal(status, 503, text);
    match(JSON.parse(text).next, /start the agent once/);
  }
});

Deno.test("Ui asks the cluster once, however often a page asks, and again when that failed", async () => {
  let calls = 0, fail = true;
  const own = ui({
    why: () => {
      calls++;
      return fail ? Promise.reject(new Error("away")) : Promise.resolve({ findings: [] });
    },
  });
  const why = async () => {
    const request = new Request(`${HOST}/ui/api/why?name=a/b`, { headers: COOKIE });
    const answer = await own.answer(request, "127.0.0.1");
    return [answer.status, await answer.text()];
  };
  deepEqual(await why(), [500, '{"error":"away"}']);
  fail = false;
  const both = await Promise.all([why(), why()]);
  deepEqual(both.map(([status]) => status), [200, 200]);
  deepEqual(await why(), [200, '{"findings":[]}']);
  equal(calls, 2);
});
