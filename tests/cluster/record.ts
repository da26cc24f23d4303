/**
 * Records what a real API server says to the source while objects come, change and go, a watch is cut, something is deleted
 * meanwhile, and the server has forgotten: deno run -A tests/cluster/record.ts > src/cluster/kube/testdata/gap.json
 */
import { type Conversation, requestKey } from "../../src/cluster/kube/conversation_support.ts";
import { KubeSource } from "../../src/cluster/kube/source.ts";
import { Recorder } from "../../src/cluster/test_support.ts";
import { Admin } from "./support/api_world.ts";
import { Kit } from "./support/kit.ts";

const title = (name: string) => `Service default/${name}`;

async function record(admin: Admin): Promise<Conversation> {
  const sink = new Recorder();
  const exchanges: Conversation["exchanges"] = [];
  const cuts = new Set<() => void>();
  let forgotten = false;
  const signal = new AbortController().signal;
  const proxy = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (asked) => {
      const url = new URL(asked.url);
      const exchange = { request: requestKey(url), status: 200, lines: [] as string[] };
      exchanges.push(exchange);
      // A version of the first second: what a client has that was away for long.
      if (forgotten && url.searchParams.has("watch") && url.pathname.endsWith("/services")) {
        url.searchParams.set("resourceVersion", "1");
        forgotten = false;
      }
      const query = Object.fromEntries(url.searchParams);
      try {
        const { body, end } = await admin.client.open(url.pathname, { query, signal });
        return new Response(copy(body, end, exchange.lines));
      } catch (error) {
        exchange.status = (error as { status?: number }).status ?? 500;
        return new Response("{}", { status: exchange.status });
      }
    },
  );
  const copy = (body: AsyncIterable<Uint8Array>, end: () => void, lines: string[]) => {
    const pieces = body[Symbol.asyncIterator]();
    let rest = "";
    return new ReadableStream<Uint8Array>({
      start: (controller) =>
        void cuts.add(() => {
          end();
          try {
            controller.close();
          } catch {
            // It has ended.
          }
        }),
      async pull(controller) {
        const { done, value } = await pieces.next().catch(() => ({ done: true, value: undefined }));
        const parts = (rest + (value === undefined ? "" : new TextDecoder().decode(value))).split(
          "\n",
        );
        rest = parts.pop()!;
        lines.push(...parts.filter((line) => line !== ""));
        if (done && rest !== "") lines.push(rest);
        try {
          if (done) controller.close();
          else controller.enqueue(value!);
        } catch {
          // It was cut.
        }
      },
    });
  };
  const cut = () => {
    for (const one of cuts) one();
    cuts.clear();
  };
  const source = new KubeSource(
    { server: `http://127.0.0.1:${proxy.addr.port}`, from: "", insecure: false, identity: {} },
    sink,
  );
  const put = (name: string, port: number) =>
    admin.apply("/api/v1/namespaces/default/services", {
      metadata: { name },
      spec: { ports: [{ port }] },
    } as never);
  const remove = (name: string) => admin.delete(`/api/v1/namespaces/default/services/${name}`);
  for (const name of ["kept", "changed", "gone"]) await put(name, 80);
  // A server that has just started knows nothing of what was before.
  await admin.kit.crash("kube-apiserver");
  await admin.kit.controlPlaneUp();
  await source.start();
  await put("changed", 81);
  await put("watched", 82);
  await sink.until(() => sink.objects.has(title("watched")));
  forgotten = true;
  cut();
  await remove("gone");
  await put("changed", 83);
  await put("late", 84);
  await sink.until(
    () => sink.objects.has(title("late")) && !sink.objects.has(title("gone")),
    20_000,
  );
  await remove("watched");
  await sink.until(() => !sink.objects.has(title("watched")));
  const services = [...sink.objects.values()].flatMap((object) =>
    object.kind === "Service" ? [`${object.name} ${object.ports[0]?.port}`] : []
  );
  const { gitVersion } = await admin.json("/version");
  await source.closeAndWait();
  cut();
  await proxy.shutdown();
  for (const name of ["kept", "changed", "late"]) await remove(name);
  return { server: String(gitVersion), exchanges, services: services.sort() };
}

const kit = await Kit.setUp();
try {
  await kit.controlPlaneUp();
  using admin = new Admin(kit);
  console.log(JSON.stringify(await record(admin), null, 1));
} finally {
  await kit.down();
}
