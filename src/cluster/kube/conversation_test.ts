/** What a real API server said once, said again; recorded by tests/cluster/record.ts. */
import assert from "node:assert/strict";
import { Recorder } from "../test_support.ts";
import { type Conversation, Replay } from "./conversation_support.ts";
import { KubeSource } from "./source.ts";

const gap: Conversation = JSON.parse(
  Deno.readTextFileSync(new URL("testdata/gap.json", import.meta.url)),
);

Deno.test(`KubeSource understands a recorded gap of Kubernetes ${gap.server}`, async () => {
  assert.ok(
    gap.exchanges.some(({ lines }) => lines.some((line) => /"ERROR".*"code":410/.test(line))),
    "the recording has a 410 in it",
  );
  await using replay = new Replay(gap);
  const sink = new Recorder();
  const source = new KubeSource(
    { server: replay.url, from: "", insecure: false, identity: {} },
    sink,
    { backoff: { firstMs: 5, longestMs: 20 } },
  );
  const services = () =>
    [...sink.objects.values()].flatMap((object) =>
      object.kind === "Service" ? [`${object.name} ${object.ports[0]?.port}`] : []
    ).sort();
  try {
    await source.start();
    await sink.until(() => services().join() === gap.services.join());
    assert.ok(sink.log.includes("delete Service default/gone"), "found missing in the second list");
    assert.ok(sink.log.includes("delete Service default/watched"), "told by the watch");
    assert.ok(!sink.log.includes("delete Service default/kept"));
    assert.ok(sink.objects.has("Endpoints default/kubernetes"), "that server has no slices in v1");
    assert.deepEqual(replay.strange, []);
  } finally {
    await source.closeAndWait();
  }
});
