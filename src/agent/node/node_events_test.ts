import assert from "node:assert/strict";
import { Backoff } from "../../cluster/kube/backoff.ts";
import { ApiError, type RequestOptions } from "../../cluster/kube/client.ts";
import { createLog } from "../log.ts";
import { condition, NodeCondition } from "./node_condition.ts";
import { NodeEvents, type Notice } from "./node_events.ts";

type Body = Record<string, unknown> & { metadata: { name: string } };

/** An API that records requests; `fail` decides what it refuses. */
class Api {
  readonly told: string[] = [];
  readonly bodies: Body[] = [];
  fail: () => Error | undefined = () => undefined;
  #waiting: (() => void)[] = [];

  json = (path: string, { method, body }: RequestOptions) => {
    const error = this.fail();
    const event = body as Body;
    this.bodies.push(event);
    const what = method === "PATCH" ? `count ${event.count}` : `${event.reason}: ${event.message}`;
    this.told.push(`${error === undefined ? method : "refused"} ${what}`);
    for (const wake of this.#waiting.splice(0)) wake();
    return error === undefined ? Promise.resolve({ path }) : Promise.reject(error);
  };

  async until(count: number) {
    while (this.told.length < count) await new Promise<void>((wake) => this.#waiting.push(wake));
    await Promise.resolve();
  }
}

const notice = (message: string, reason = "Bad"): Notice => ({ reason, message, type: "Warning" });
const backoff = () => new Backoff({ firstMs: 1, longestMs: 1 });

function setUp(limits: NonNullable<ConstructorParameters<typeof NodeEvents>[0]["limits"]> = {}) {
  const api = new Api();
  const events = new NodeEvents({ client: api, nodeName: "node1", backoff: backoff(), limits });
  return { api, events, [Symbol.asyncDispose]: () => events.stop() };
}

Deno.test("NodeEvents makes an Event that kubectl describe node shows", async () => {
  await using place = setUp();
  place.events.report({ reason: "own-node-missing", message: "m".repeat(2000), type: "Warning" });
  await place.api.until(1);
  const [body] = place.api.bodies;
  assert.deepEqual(body!.involvedObject, { kind: "Node", name: "node1", uid: "node1" });
  assert.equal(body!.reason, "OwnNodeMissing");
  assert.equal((body!.message as string).length, 900);
  assert.match(body!.metadata.name, /^node1\.[0-9a-f]+$/);
  assert.match(body!.firstTimestamp as string, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

Deno.test("NodeEvents counts what repeats, and updates it now and then only", async () => {
  await using place = setUp({ repeatMs: 60 });
  for (let i = 0; i < 5; i++) place.events.report(notice("again"));
  await place.api.until(2);
  for (let i = 0; i < 3; i++) place.events.report(notice("again"));
  await place.api.until(3);
  assert.deepEqual(place.api.told, ["POST Bad: again", "PATCH count 5", "PATCH count 8"]);
});

Deno.test("NodeEvents makes one Event of many similar ones", async () => {
  await using place = setUp({ similar: 2, repeatMs: 30 });
  for (let i = 0; i < 9; i++) place.events.report(notice(`number ${i}`));
  place.events.report(notice("other", "Worse"));
  await place.api.until(4);
  assert.deepEqual(place.api.told.toSorted(), [
    "POST Bad: (combined from similar events): number 8",
    "POST Bad: number 0",
    "POST Bad: number 1",
    "POST Worse: other",
  ]);
});

Deno.test("NodeEvents waits when it has told too much", async () => {
  await using place = setUp({ burst: 2, refillMs: 80 });
  const start = performance.now();
  for (const word of ["a", "b", "c"]) place.events.report(notice(word, word));
  await place.api.until(2);
  assert.ok(performance.now() - start < 60);
  await place.api.until(3);
  assert.ok(performance.now() - start >= 60, "the third came too early");
});

Deno.test("NodeEvents tries again while the server is away, not when it refuses", async () => {
  await using place = setUp();
  const { api, events } = place;
  api.fail = () => api.told.length < 3 ? new ApiError(0, "cannot be reached") : undefined;
  events.report(notice("a"));
  await api.until(4);
  assert.deepEqual(api.told.slice(2), ["refused Bad: a", "POST Bad: a"]);
  api.fail = () => new ApiError(403, "no");
  events.report(notice("b"));
  await api.until(5);
  api.fail = () => undefined;
  events.report(notice("c"));
  await api.until(6);
  assert.deepEqual(api.told.slice(4), ["refused Bad: b", "POST Bad: c"]);
});

Deno.test("NodeEvents makes an Event anew that the server has forgotten", async () => {
  await using place = setUp({ repeatMs: 0 });
  const { api, events } = place;
  events.report(notice("a"));
  await api.until(1);
  api.fail = () => api.told.length === 1 ? new ApiError(404, "not found") : undefined;
  events.report(notice("a"));
  await api.until(3);
  assert.deepEqual(api.told, ["POST Bad: a", "refused count 2", "POST Bad: a"]);
  assert.equal(api.bodies[2]!.count, 2);
});

Deno.test("NodeCondition tries until the server takes it", async () => {
  const api = new Api();
  api.fail = () => api.told.length < 4 ? new ApiError(503, "not yet") : undefined;
  const node = new NodeCondition(api, "node1", createLog("silent", "node1"), backoff());
  node.set(undefined);
  node.set(undefined);
  await api.until(5);
  await node.stop();
  assert.equal(api.told.length, 5);
  const { status, lastTransitionTime } = condition(new Date("2026-01-02T03:04:05.678Z"));
  assert.deepEqual([status, lastTransitionTime], ["False", "2026-01-02T03:04:05Z"]);
});

Deno.test("createLog() tells a listener of lines with an event, not of others", () => {
  const told: unknown[] = [];
  const log = createLog("fatal", "node1", (event) => told.push(event));
  log.level = "info";
  const write = Deno.stderr.writeSync;
  Deno.stderr.writeSync = (bytes) => bytes.length;
  try {
    log.warn({ event: "NoRoom", object: "Service a/b" }, "is full");
    log.info({ event: "SourceRecovered" }, "is well");
    log.debug({ event: "Hidden" }, "no");
    log.warn("plain");
  } finally {
    Deno.stderr.writeSync = write;
  }
  assert.deepEqual(told, [
    { reason: "NoRoom", message: "Service a/b: is full", type: "Warning" },
    { reason: "SourceRecovered", message: "is well", type: "Normal" },
  ]);
});
