import assert from "node:assert/strict";
import { attachment } from "../../node/attachments_support.ts";
import type { PodDevice } from "../../bpf/layout.ts";
import type { AgentConfig } from "../../config/schema.ts";
import { createLog } from "../log.ts";
import { UncheckedPods } from "./unchecked_pods.ts";

function scene(sourceCheck: AgentConfig["sourceCheck"], annotated: readonly string[]) {
  const config = { sourceCheck };
  const records = ["router", "web"].map((name, i) =>
    attachment({ containerID: name, pod: `default/${name}`, hostIfindex: 7 + i })
  );
  const held = new Map<number, PodDevice>(
    records.map(({ hostIfindex, mac }) => [hostIfindex, { mac, flags: 0, host_mac: mac }]),
  );
  const asked: string[] = [];
  let fails = 0, reads = 0;
  const pods = new UncheckedPods({
    config,
    records: () => (reads++, records),
    devices: {
      get: ({ ifindex }) => held.get(ifindex),
      set: ({ ifindex }, value) => void held.set(ifindex, value),
    },
    isExempt: (pod) => {
      asked.push(pod);
      return fails-- > 0
        ? Promise.reject(new Error("away"))
        : Promise.resolve(annotated.includes(pod));
    },
    log: createLog("silent", "n1"),
  });
  const flags = () => [7, 8].map((index) => held.get(index)!.flags);
  const fail = (times: number) => fails = times;
  return { pods, config, records, held, asked, flags, fail, reads: () => reads };
}

const settled = () => new Promise((resolve) => setTimeout(resolve));

Deno.test("UncheckedPods exempts annotated pods, asked for once, while the setting says so", async () => {
  const { pods, config, asked, flags } = scene("annotated", ["default/router"]);
  pods.look();
  await settled();
  assert.deepEqual(flags(), [1, 0]);
  pods.look();
  await settled();
  assert.deepEqual(asked, ["default/router", "default/web"]);
  config.sourceCheck = "strict";
  pods.look();
  assert.deepEqual(flags(), [0, 0]);
});

Deno.test("UncheckedPods asks for no pod where the setting is strict", async () => {
  const { pods, asked, flags, reads } = scene("strict", ["default/router"]);
  pods.look();
  pods.look();
  await settled();
  assert.deepEqual([asked, flags()], [[], [0, 0]]);
  assert.equal(reads(), 1, "nothing is left to do every second");
});

Deno.test("UncheckedPods keeps the check while the API server is away", async () => {
  const { pods, flags, fail } = scene("annotated", ["default/router", "default/web"]);
  fail(1);
  pods.look();
  await settled();
  assert.deepEqual(flags(), [0, 0]);
});

Deno.test("UncheckedPods touches no device that is another's by now", async () => {
  const { pods, held, flags } = scene("annotated", ["default/router"]);
  held.set(7, { ...held.get(7)!, mac: "02:00:00:00:00:99" });
  pods.look();
  await settled();
  assert.deepEqual(flags(), [0, 0]);
});
