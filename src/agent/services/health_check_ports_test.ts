import assert from "node:assert/strict";
import type { HealthCheck } from "../../services/desired.ts";
import { HealthCheckPorts } from "./health_check_ports.ts";
import { createLog, type Log } from "../log.ts";
import type { Clock } from "../runner.ts";

/** A server on loopback, what it logged, and a clock whose timers run on demand. */
class Place implements Disposable {
  readonly told: string[] = [];
  healthy = true;
  timers: (() => void)[] = [];
  readonly server: HealthCheckPorts;

  constructor() {
    const note = (fields: { event: string; object: string }, text: string) =>
      this.told.push(`${fields.event} ${fields.object}: ${text.replace(/\d{4,}/, "N")}`);
    const log = { ...createLog("silent", "node1"), info: note, warn: note } as unknown as Log;
    const clock: Clock = {
      now: () => 0,
      setTimeout: (run) => this.timers.push(run),
      clearTimeout: () => this.timers = [],
    };
    const healthy = () => this.healthy;
    this.server = new HealthCheckPorts({ log, healthy, hostname: "127.0.0.1", clock });
  }

  put(port: number, localEndpoints: number, name = "web") {
    const check: HealthCheck = { namespace: "shop", name, localEndpoints };
    this.server.update(new Map([[port, check]]));
  }
  tick() {
    const { timers } = this;
    this.timers = [];
    for (const run of timers) run();
  }
  [Symbol.dispose]() {
    this.server.stop();
  }
}

/** Listens at a port that was free. */
function listen(): Deno.TcpListener {
  return Deno.listen({ hostname: "127.0.0.1", port: 0 });
}

function freePort(): number {
  using listener = listen();
  return listener.addr.port;
}

async function ask(port: number) {
  // A connection of its own: none that the last question left open.
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { client });
  return { status: answer.status, headers: answer.headers, body: await answer.json() };
}

Deno.test("HealthCheckPorts answers as kube-proxy does, and follows changes", async () => {
  using place = new Place();
  const port = freePort();
  place.put(port, 2);
  const { status, headers, body } = await ask(port);
  assert.equal(status, 200);
  assert.deepEqual(body, {
    service: { namespace: "shop", name: "web" },
    localEndpoints: 2,
    serviceProxyHealthy: true,
  });
  assert.equal(headers.get("x-load-balancing-endpoint-weight"), "2");
  assert.equal(headers.get("content-type"), "application/json");
  assert.equal(headers.get("x-content-type-options"), "nosniff");

  place.put(port, 0);
  const none = await ask(port);
  assert.deepEqual([none.status, none.body.localEndpoints], [503, 0]);
  assert.equal(none.headers.get("x-load-balancing-endpoint-weight"), "0");

  place.put(port, 1);
  assert.equal((await ask(port)).status, 200);
  place.healthy = false;
  const sick = await ask(port);
  assert.deepEqual([sick.status, sick.body.serviceProxyHealthy], [503, false]);
});

Deno.test("HealthCheckPorts lets a port go that is not wanted any more", async () => {
  using place = new Place();
  const [port, other] = [freePort(), freePort()];
  place.put(port, 1);
  await ask(port);
  place.put(other, 1);
  await assert.rejects(ask(port));
  assert.equal((await ask(other)).status, 200);
  place.server.stop();
  await assert.rejects(ask(other));
});

Deno.test("HealthCheckPorts tells of a taken port once, and takes it when it is free", async () => {
  using place = new Place();
  const holder = listen();
  const { port } = holder.addr;
  place.put(port, 1);
  place.put(port, 2);
  place.tick();
  assert.deepEqual(place.told, [
    "HealthCheckPort Service shop/web: healthCheckNodePort N cannot be listened at: another process " +
    "listens there; load balancers take this node for unhealthy",
  ]);
  holder.close();
  place.tick();
  assert.equal(place.told.length, 2);
  assert.match(place.told[1]!, /is free now/);
  assert.equal((await ask(port)).body.localEndpoints, 2);
  place.tick();
  assert.equal(place.told.length, 2);
});
