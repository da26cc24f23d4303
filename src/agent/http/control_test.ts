import { deepEqual, equal, match } from "node:assert/strict";
import { controlReply } from "./control.ts";

const token = "7c9e";
const own = { from: "127.0.0.1", at: "127.0.0.1" };

/** Asks with `curl`'s headers; gives status, text, and the level afterwards. */
async function ask(
  path: string,
  init: RequestInit = {},
  { peer = own, host = "127.0.0.1:9879" } = {},
) {
  const log = { level: "info", info: () => {} };
  const state = () => ({ logLevel: log.level, source: { manifests: "/m" }, watches: [] });
  const request = new Request(`http://${host}${path}`, init);
  const answer = await controlReply(request, peer, { token, log, state });
  return answer && { status: answer.status, text: await answer.text(), now: log.level };
}

const put = (body: string, headers: Record<string, string> = {}): RequestInit => ({
  method: "PUT",
  body,
  headers: { authorization: `Bearer ${token}`, ...headers },
});

Deno.test("controlReply() gives the state and the level, and leaves other paths alone", async () => {
  deepEqual(await ask("/debug/state"), {
    status: 200,
    text: `{"logLevel":"info","source":{"manifests":"/m"},"watches":[]}\n`,
    now: "info",
  });
  deepEqual(await ask("/debug/log-level"), { status: 200, text: "info\n", now: "info" });
  equal(await ask("/healthz"), undefined);
  equal((await ask("/debug/nothing"))!.status, 404);
  equal((await ask("/debug/state", { method: "POST" }))!.status, 405);
});

Deno.test("controlReply() changes the level for who knows the token and is on this node", async () => {
  deepEqual(await ask("/debug/log-level", put("debug\n")), {
    status: 200,
    text: "debug\n",
    now: "debug",
  });
  // An agent that listens at the node's own address: the node itself comes from there.
  const node = { from: "192.0.2.11", at: "192.0.2.11" };
  equal((await ask("/debug/log-level", put("debug"), { peer: node }))!.now, "debug");
  const cases: [RequestInit, Parameters<typeof ask>[2], number][] = [
    [put("debug", { authorization: "Bearer 7c9f" }), {}, 401],
    [put("debug", { authorization: "" }), {}, 401],
    [put("debug"), { peer: { from: "192.0.2.99", at: "192.0.2.11" } }, 403],
    [put("loud"), {}, 400],
    [{ ...put("debug"), method: "POST" }, {}, 405],
  ];
  for (const [init, where, status] of cases) {
    const answer = (await ask("/debug/log-level", init, where))!;
    deepEqual([answer.status, answer.now], [status, "info"], answer.text);
  }
});

Deno.test("controlReply() gives nothing to pages of a browser, whatever name they came by", async () => {
  for (const path of ["/debug/state", "/debug/log-level"]) {
    const rebound = await ask(path, {}, { host: "evil.example:9879" });
    deepEqual([rebound!.status, rebound!.now], [403, "info"]);
    match(rebound!.text, /web pages are refused/);
    equal((await ask(path, { headers: { origin: "http://127.0.0.1:9879" } }))!.status, 403);
  }
  equal((await ask("/debug/log-level", put("debug"), { host: "evil.example" }))!.now, "info");
  equal((await ask("/debug/state", {}, { host: "localhost:9879" }))!.status, 200);
  equal((await ask("/debug/state", {}, { host: "[::1]:9879" }))!.status, 200);
});
