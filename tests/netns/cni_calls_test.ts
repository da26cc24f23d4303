/** What calls of the plugin tell of themselves, without an agent: through a queue in the kernel. */
import assert from "node:assert/strict";
import { pushCall, takeCalls } from "../../src/bpf/cni_calls.ts";
import { test } from "./cni/cases.ts";

test("each call notes its verb, time and failure, and is read once", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  world.call("CHECK", pod, { config: { prevResult: undefined } });
  world.call("DEL", pod);
  const calls = takeCalls(world.bpffs);
  assert.deepEqual(calls.map(({ verb, failed }) => [verb, failed]), [
    ["ADD", false],
    ["CHECK", true],
    ["DEL", false],
  ]);
  for (const { seconds } of calls) assert.ok(seconds > 0 && seconds < 3600, `${seconds} s`);
  assert.deepEqual(takeCalls(world.bpffs), []);
});

test("calls that no agent reads make room for later ones", ({ bpffs }) => {
  for (let i = 1; i <= 4100; i++) pushCall(bpffs, { verb: "GC", seconds: i, failed: false });
  const calls = takeCalls(bpffs);
  assert.equal(calls.length, 4096);
  assert.deepEqual([calls[0]!.seconds, calls.at(-1)!.seconds], [5, 4100]);
});

test("a call where no data plane is installed goes on without it", ({ dir }) => {
  pushCall(`${dir}/nowhere`, { verb: "STATUS", seconds: 1, failed: false });
  assert.deepEqual(takeCalls(`${dir}/nowhere`), []);
});
