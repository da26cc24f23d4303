import assert from "node:assert/strict";
import { ApiClient } from "../src/cluster/kube/client.ts";
import { watchRemoval } from "./daemonset.ts";

const PATH = "/apis/apps/v1/namespaces/net/daemonsets";

/** As much of an API server as the watch asks for; rights can go, as `kubectl delete -f` takes them. */
class Server implements AsyncDisposable {
  object: Record<string, unknown> | undefined = { metadata: { name: "pcnk" } };
  allowed = true;
  private readonly watches = new Set<ReadableStreamDefaultController<Uint8Array>>();
  private watching = Promise.withResolvers<void>();
  private readonly server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) => this.answer(new URL(request.url)),
  );
  readonly client = new ApiClient({
    server: `http://127.0.0.1:${this.server.addr.port}`,
    from: "a test",
    insecure: false,
    identity: {},
  });

  private answer(url: URL): Response {
    if (!this.allowed) return Response.json({ message: "Unauthorized" }, { status: 401 });
    if (url.pathname === `${PATH}/pcnk`) {
      return this.object === undefined
        ? Response.json({ message: "not found" }, { status: 404 })
        : Response.json(this.object);
    }
    assert.equal(url.pathname, PATH);
    assert.equal(url.searchParams.get("fieldSelector"), "metadata.name=pcnk");
    if (url.searchParams.get("watch") !== "true") {
      const items = this.object === undefined ? [] : [this.object];
      return Response.json({ metadata: { resourceVersion: "5" }, items });
    }
    assert.equal(url.searchParams.get("resourceVersion"), "5");
    let own: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        own = controller;
        this.watches.add(controller);
        this.watching.resolve();
      },
      cancel: () => void this.watches.delete(own),
    });
    return new Response(body);
  }

  /** A watch is open. */
  async watched(): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error("no watch")), 10_000);
    try {
      await Promise.race([this.watching.promise, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** In two pieces: a line may come so. */
  async send(type: string, object: unknown): Promise<void> {
    const line = new TextEncoder().encode(JSON.stringify({ type, object }) + "\n");
    for (const controller of this.watches) {
      controller.enqueue(line.subarray(0, 9));
      await new Promise((resolve) => setTimeout(resolve));
      controller.enqueue(line.subarray(9));
    }
  }

  /** Open watches end. */
  cut(): void {
    for (const controller of this.watches) controller.close();
    this.watches.clear();
    this.watching = Promise.withResolvers<void>();
  }

  async [Symbol.asyncDispose]() {
    this.cut();
    await this.server.shutdown();
  }
}

const going = { metadata: { name: "pcnk", deletionTimestamp: "2026-01-01T00:00:00Z" } };

/** Asks until the answer is as it should be; fails after the test's own end of patience. */
async function untilWanted(watch: { wanted(): Promise<boolean> }, wanted: boolean): Promise<void> {
  const until = Date.now() + 5000;
  while (await watch.wanted() !== wanted) {
    if (Date.now() > until) assert.fail(`still ${!wanted}`);
  }
}

function test(
  name: string,
  fn: (server: Server, watch: ReturnType<typeof watchRemoval>) => Promise<void>,
) {
  Deno.test(name, async () => {
    await using server = new Server();
    const watch = watchRemoval("net/pcnk", server.client);
    try {
      await server.watched();
      await fn(server, watch);
    } finally {
      watch.stop();
    }
  });
}

test("watchRemoval() stays while the DaemonSet is there, changed or not", async (server, watch) => {
  assert.equal(await watch.wanted(), false);
  await server.send("MODIFIED", { metadata: { name: "pcnk", generation: 2 } });
  assert.equal(await watch.wanted(), false);
});

test(
  "watchRemoval() in doubt stays: rights are gone and nothing was seen",
  async (server, watch) => {
    server.allowed = false;
    assert.equal(await watch.wanted(), false);
  },
);

test(
  "watchRemoval() knows a DaemonSet that is gone, or has its pods deleted first",
  async (server, watch) => {
    server.object = going;
    assert.equal(await watch.wanted(), true);
    server.object = undefined;
    assert.equal(await watch.wanted(), true);
  },
);

test(
  "watchRemoval() goes by the open watch when its rights went with the DaemonSet",
  async (server, watch) => {
    server.allowed = false;
    server.object = undefined;
    assert.equal(await watch.wanted(), false);
    await server.send("DELETED", { metadata: { name: "pcnk" } });
    await untilWanted(watch, true);
    // What was seen stays, also when the watch ends and no new one is let in.
    server.cut();
    assert.equal(await watch.wanted(), true);
  },
);

test(
  "watchRemoval() takes a DaemonSet that was made anew for one that is there",
  async (server, watch) => {
    server.allowed = false;
    await server.send("DELETED", { metadata: { name: "pcnk" } });
    await untilWanted(watch, true);
    await server.send("ADDED", { metadata: { name: "pcnk" } });
    await untilWanted(watch, false);
  },
);

test("watchRemoval() watches again after its watch has ended", async (server, watch) => {
  server.cut();
  await server.watched();
  server.allowed = false;
  await server.send("MODIFIED", going);
  await untilWanted(watch, true);
});
