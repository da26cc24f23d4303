/** What the source does with a server that answers, and what happens to the watch. */
import assert from "node:assert/strict";
import { sourceCases, type World } from "./cases_support.ts";
import { Place, serviceSpec, sliceSpec, title, withPlace } from "./place_support.ts";

/** The double as a world of the cases that any server must pass. */
function worldOf(place: Place): World {
  const { api, sink, source } = place;
  api.slices = false;
  return {
    sink,
    source,
    name: (word) => word,
    started: () => place.started(),
    put: (kind, name, rest, given = {}) => {
      const labels = Object.entries(given).filter(([, value]) => value !== null);
      const metadata = { labels: Object.fromEntries(labels) as Record<string, string> };
      return Promise.resolve(api.put(kind, name, rest, metadata));
    },
    remove: (kind, name) => Promise.resolve(api.remove(kind, name)),
    cut: () => api.cut(),
    halfOpen: () => api.watches.forEach((watch) => watch.send = () => {}),
    async gap(act) {
      api.mute = true;
      await act();
      api.compact();
      api.mute = false;
      api.cut();
    },
    lists: () => place.count("GET services"),
  };
}

for (const { name, run } of sourceCases) {
  withPlace(`KubeSource ${name}`, (place) => run(worldOf(place)), { silenceMs: 1000 });
}

Deno.test("KubeSource without weights of Pods asks for no Pods", async () => {
  await using place = new Place({ podWeights: false });
  await place.source.start();
  assert.ok(place.source.complete);
  assert.equal(place.count("GET pods"), 0);
});

withPlace("KubeSource asks for what concerns it only", async (place) => {
  const { api, sink } = place;
  const labels = (labels: Record<string, string>) => ({ labels });
  api.put("Service", "own", serviceSpec());
  api.put(
    "Service",
    "other",
    serviceSpec(),
    labels({ "service.kubernetes.io/service-proxy-name": "x" }),
  );
  api.put(
    "EndpointSlice",
    "headless",
    sliceSpec("10.1.0.1"),
    labels({ "service.kubernetes.io/headless": "" }),
  );
  api.put("Pod", "plain", { status: { podIP: "10.1.0.1" } });
  api.put("Pod", "heavy", { status: { podIP: "10.1.0.2" } }, labels({ "pcnk.io/weight": "7" }));
  await place.source.start();
  assert.deepEqual([...sink.objects.keys()].sort(), ["Pod default/heavy", title("own")]);
  assert.deepEqual(sink.objects.get("Pod default/heavy"), {
    kind: "Pod",
    namespace: "default",
    name: "heavy",
    podIPs: ["10.1.0.2"],
    weight: 7,
  });
});

withPlace("KubeSource says nothing of events that change nothing pcnk looks at", async (place) => {
  const { api, sink } = place;
  api.put("Node", "node1", { status: { nodeInfo: { bootID: "1" } } });
  await place.started();
  const { batches } = sink;
  api.put("Node", "node1", { status: { nodeInfo: { bootID: "2" } } });
  api.put("Node", "node2", {});
  await sink.until(() => sink.objects.has("Node node2"));
  assert.equal(sink.batches, batches + 1);
});

withPlace("KubeSource goes on from a bookmark, however old its last event is", async (place) => {
  const { api, sink } = place;
  await place.started();
  api.compact();
  api.bookmark();
  await place.requested(() => api.cut(), "WATCH services");
  api.put("Service", "a", serviceSpec());
  await sink.until(() => sink.objects.has(title("a")));
  assert.equal(place.count("GET services"), 1);
});

withPlace("KubeSource finds in a list what no event told", async (place) => {
  const { api, sink } = place;
  api.put("Service", "a", serviceSpec());
  api.put("Service", "b", serviceSpec());
  await place.started();
  api.loseObject("Service", "a");
  api.cut();
  await sink.until(() => !sink.objects.has(title("a")));
}, { relistMs: 1 });

withPlace("KubeSource starts a list anew whose next page is too old", async (place) => {
  const { api, sink } = place;
  for (let i = 0; i < 700; i++) api.put("Service", `s${1000 + i}`, serviceSpec());
  let pages = 0;
  api.intercept = ({ pathname, searchParams }) => {
    if (pathname !== "/api/v1/services" || searchParams.has("watch")) return undefined;
    if (++pages === 2) {
      api.remove("Service", "s1000");
      api.compact();
    }
    return undefined;
  };
  await place.source.start();
  assert.equal(pages, 4);
  assert.equal(sink.objects.size, 699);
  assert.ok(!sink.objects.has(title("s1000")), "it came with the first page and was gone then");
});

withPlace(
  "KubeSource takes Endpoints while there are no slices, and slices from then on",
  async (place) => {
    const { api, sink } = place;
    api.slices = false;
    api.put("Endpoints", "a", {
      subsets: [{ addresses: [{ ip: "10.1.0.1" }], ports: [{ port: 80 }] }],
    });
    api.put("EndpointSlice", "a-x", sliceSpec("10.1.0.2"), Place.of("a"));
    await place.started();
    assert.deepEqual([...sink.objects.keys()], ["Endpoints default/a"]);
    api.slices = true;
    api.cut();
    await sink.until(() => sink.objects.has("EndpointSlice default/a-x"));
    assert.deepEqual([...sink.objects.keys()], ["EndpointSlice default/a-x"]);
    const order = sink.log.filter((line) => /Endpoint/.test(line));
    assert.deepEqual(order.slice(1), [
      "upsert EndpointSlice default/a-x",
      "delete Endpoints default/a",
    ]);
  },
);

withPlace(
  "KubeSource keeps the last good state of an object that cannot be read",
  async (place) => {
    const { api, sink } = place;
    api.put("Service", "a", serviceSpec("10.96.0.1"));
    api.put("Service", "never", serviceSpec("10.96.0.300"));
    await place.started();
    assert.equal(place.source.complete, false, "it may account for anything");
    const problems = () => sink.log.filter((line) => line.startsWith("problem"));
    assert.match(problems()[0]!, /services: Service default\/never: spec\.clusterIP: /);
    api.put("Service", "a", serviceSpec("10.96.0.400"));
    api.put("Service", "a", serviceSpec("10.96.0.400"));
    api.put("Service", "b", serviceSpec());
    await sink.until(() => sink.objects.has(title("b")));
    assert.equal(place.ip("a"), "10.96.0.1");
    assert.equal(problems().length, 2);
    api.put("Service", "a", serviceSpec("10.96.0.5"));
    api.remove("Service", "never");
    await sink.until(() => sink.log.some((line) => line.startsWith("recovered")));
    assert.deepEqual([place.ip("a"), place.source.complete], ["10.96.0.5", true]);
  },
);

withPlace("KubeSource.watches tells of each resource how following it goes", async (place) => {
  const { api, sink, source } = place;
  const services = () => source.watches.find(({ resource }) => resource === "services")!;
  assert.deepEqual(JSON.parse(JSON.stringify(services())), {
    resource: "services",
    synced: false,
    connected: false,
    events: 0,
    lists: 0,
    errors: 0,
  });
  await place.started();
  await sink.until(() => services().connected);
  const { heardMs, versionMs, ...first } = JSON.parse(JSON.stringify(services()));
  assert.deepEqual(first, {
    resource: "services",
    synced: true,
    connected: true,
    events: 0,
    lists: 1,
    errors: 0,
  });
  assert.ok(heardMs! < 10_000 && versionMs! < 10_000);
  api.put("Service", "a", serviceSpec());
  await sink.until(() => sink.objects.has(title("a")));
  assert.equal(services().events, 1);
  await api.down();
  await sink.until(() => services().errors > 1);
  const { connected, reason, lists } = services();
  assert.deepEqual([connected, lists], [false, 1]);
  assert.match(reason!, /\S/);
});
