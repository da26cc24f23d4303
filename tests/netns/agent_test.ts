/** The agent as a process: manifests in, maps out; broken files, sudden ends, a second agent. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { serviceYaml, test } from "./support/agent.ts";

const web = (...endpoints: string[]) => serviceYaml("web", "10.96.0.1", endpoints);

test("agent follows manifests that come, change, break and go", async (place) => {
  place.write("web.yaml", web("10.1.0.1", "10.1.0.2"));
  const agent = await place.start();
  const first = { "10.96.0.1:0/0": [], "10.96.0.1:80/6": ["10.1.0.1:8080", "10.1.0.2:8080"] };
  assert.deepEqual(place.services(), first);

  agent.skip();
  place.write("web.yaml", web("10.1.0.2", "10.1.0.3"));
  await agent.updated();
  const second = { ...first, "10.96.0.1:80/6": ["10.1.0.2:8080", "10.1.0.3:8080"] };
  assert.deepEqual(place.services(), second);

  place.write("web.yaml", web("10.1.0.2", "10.1.0.256"));
  const problem = await agent.log(({ event }) => event === "SourceProblem");
  assert.match(problem.msg, /web\.yaml:25: EndpointSlice web-1: endpoints\[1\]\.addresses\[0\]: /);

  place.write("other.yaml", serviceYaml("other", "10.96.0.2", []));
  await agent.updated();
  const third = { ...second, "10.96.0.2:0/0": [], "10.96.0.2:80/6": [] };
  assert.deepEqual(place.services(), third);

  place.write("web.yaml", web("10.1.0.9"));
  await agent.log(({ event }) => event === "SourceRecovered");
  await agent.updated();
  place.remove("other.yaml");
  await agent.updated();
  assert.deepEqual(place.services(), { ...first, "10.96.0.1:80/6": ["10.1.0.9:8080"] });
});

test("agent that ends on SIGTERM leaves the data plane in place", async (place) => {
  place.write("web.yaml", web("10.1.0.1"));
  const agent = await place.start();
  const word = () => Deno.readTextFileSync(join(place.stateDir, "agent.json"));
  const { pid, ready } = JSON.parse(word());
  assert.deepEqual([pid, ready], [agent.pid, true]);
  assert.equal(Deno.statSync(join(place.stateDir, "agent.json")).mode! & 0o777, 0o600);
  assert.equal(Deno.statSync(place.stateDir).mode! & 0o777, 0o700);
  const status = await agent.end("SIGTERM");
  assert.equal(status.code, 0, agent.transcript());
  assert.throws(word, Deno.errors.NotFound);
  assert.deepEqual(place.services()["10.96.0.1:80/6"], ["10.1.0.1:8080"]);
});

test("agent that was killed takes up where it stopped and repairs altered maps", async (place) => {
  place.write("web.yaml", web("10.1.0.1", "10.1.0.2"));
  place.write("api.yaml", serviceYaml("api", "10.96.0.2", ["10.1.0.3"]));
  place.write("gone.yaml", serviceYaml("gone", "10.96.0.3", ["10.1.0.4"]));
  const agent = await place.start();
  const right = place.services();
  const entries = () => {
    using dataPlane = place.dataPlane();
    return new Map(
      dataPlane.maps.services.entries().map(([key, value]) => [`${key.addr}:${key.port}`, value]),
    );
  };
  const before = entries();
  await agent.end("SIGKILL");
  {
    using dataPlane = place.dataPlane();
    const { services, backends } = dataPlane.maps;
    const webKey = { addr: "10.96.0.1", port: 80, proto: 6, scope: 0 };
    backends.set(services.get(webKey)!.first, {
      addr: "6.6.6.6",
      port: 6,
      flags: 0,
      weight_end: 0,
    });
    services.delete({ addr: "10.96.0.2", port: 0, proto: 0, scope: 0 });
    services.set({ ...webKey, addr: "6.6.6.6" }, { ...services.get(webKey)!, id: 99 });
  }
  place.remove("gone.yaml");
  await place.start();
  delete right["10.96.0.3:80/6"];
  delete right["10.96.0.3:0/0"];
  assert.deepEqual(place.services(), right);
  const after = entries();
  assert.deepEqual(after.get("10.96.0.2:80"), before.get("10.96.0.2:80"), "what was right stays");
  assert.equal(after.get("10.96.0.1:80")!.id, before.get("10.96.0.1:80")!.id);
  assert.notEqual(after.get("10.96.0.1:80")!.first, before.get("10.96.0.1:80")!.first);
});

test("agent that starts without being able to read a file deletes nothing", async (place) => {
  place.write("web.yaml", web("10.1.0.1"));
  place.write("api.yaml", serviceYaml("api", "10.96.0.2", ["10.1.0.3"]));
  const agent = await place.start();
  const right = place.services();
  await agent.end("SIGKILL");
  place.write("web.yaml", "kind: [broken\n");
  const second = await place.start();
  assert.deepEqual(place.services(), right);
  // A deleted file takes its own objects with it all the same.
  second.skip();
  place.remove("api.yaml");
  await second.updated();
  assert.deepEqual(Object.keys(place.services()), ["10.96.0.1:0/0", "10.96.0.1:80/6"]);
});

test("agent repairs altered maps in its full rounds", async (place) => {
  place.write("web.yaml", web("10.1.0.1"));
  const agent = await place.start("--resync", "1s");
  const right = place.services();
  {
    using dataPlane = place.dataPlane();
    dataPlane.maps.services.delete({ addr: "10.96.0.1", port: 80, proto: 6, scope: 0 });
  }
  agent.skip();
  await agent.log(({ msg, services }) => msg === "maps are up to date" && services === 1);
  assert.deepEqual(place.services(), right);
});

test("agent refuses to run beside another one of the same node", async (place) => {
  const agent = await place.start();
  const second = place.spawn();
  const status = await second.exit;
  assert.equal(status.code, 1);
  assert.match(second.errors, /^pcnk: another agent runs on this node: .*agent\.lock is locked by/);
  assert.match(second.errors, new RegExp(`by process ${agent.pid};`));
  assert.equal(second.errors.trim().split("\n").length, 1, "one line, no stack trace");
  // The first one goes on.
  agent.skip();
  place.write("web.yaml", web("10.1.0.1"));
  await agent.updated();
});

const refusals: Record<string, [string[], RegExp]> = {
  "manifests that are not there": [
    ["--manifests", "/nonexistent"],
    /^pcnk: manifests \/nonexistent: there is no such directory\n$/,
  ],
};

for (const [name, [flags, message]] of Object.entries(refusals)) {
  test(`agent says in one line that it cannot start with ${name}`, async (place) => {
    const agent = place.spawn(...flags);
    const status = await agent.exit;
    assert.equal(status.code, 1);
    assert.match(agent.errors, message);
  });
}

test(
  "agent reports backends that find no room and serves them when there is",
  async (place) => {
    place.write(
      "a.yaml",
      serviceYaml("a", "10.96.0.1", Array.from({ length: 10 }, (_, i) => `10.1.0.${i}`)),
    );
    place.write(
      "b.yaml",
      serviceYaml("b", "10.96.0.2", Array.from({ length: 10 }, (_, i) => `10.1.1.${i}`)),
    );
    const agent = await place.start("--map-sizes-backends", "16");
    const shortage = agent.lines.find(({ event }) => event === "NoRoom");
    assert.match(shortage!.msg, /^no room for 10 backends: of 16, 6 are free .*raise mapSizes/);
    assert.deepEqual(place.services()["10.96.0.2:80/6"], []);
    place.remove("a.yaml");
    await agent.log(({ msg }) => msg === "there is room again");
    assert.equal(place.services()["10.96.0.2:80/6"]!.length, 10);
  },
);
