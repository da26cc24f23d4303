import assert from "node:assert/strict";
import { root } from "../../tests/support/needs.ts";
import { DEFAULT_OPTIONS, labDir, planLab } from "./plan.ts";
import { LabExistsError, LabStore, NoLabError } from "./state.ts";

const name = "tstate";
const plan = planLab({ ...DEFAULT_OPTIONS, name, nodes: 1, pods: 1 });
const machine = { command: ["/x/pcnk"], plugins: "/opt/cni/bin", cgroupRoot: "/sys/fs/cgroup" };
const ignore = !root();

function withStore(fn: (store: LabStore) => void): void {
  const store = LabStore.create(plan, machine);
  try {
    fn(store);
  } finally {
    Deno.removeSync(labDir(name), { recursive: true });
    try {
      Deno.removeSync("/run/pcnk-lab");
    } catch {
      // Another lab is up.
    }
  }
}

Deno.test("LabStore.open() reads what update() wrote; root alone can", { ignore }, () => {
  withStore((store) => {
    store.update((state) => state.agents.node1 = { pid: 1, startTime: 2 });
    const again = LabStore.open(name);
    assert.deepEqual(again.state, store.state);
    assert.deepEqual(again.plan, store.plan);
    assert.equal(again.cgroup("pcnk-tstate/node1"), "/sys/fs/cgroup/pcnk-tstate/node1");
    assert.equal(Deno.statSync(plan.stateFile).mode! & 0o777, 0o600);
    assert.equal(Deno.statSync(plan.dir).mode! & 0o777, 0o700);
    assert.deepEqual([...Deno.readDirSync(plan.dir)].map((entry) => entry.name), ["lab.json"]);
  });
});

Deno.test(
  "LabStore.create() refuses a second lab and says what the first one is",
  { ignore },
  () => {
    withStore((store) => {
      const again = () => LabStore.create(plan, machine);
      assert.throws(again, LabExistsError);
      store.update((state) => state.phase = "up");
      assert.throws(again, /tstate is up already; pcnk lab status --name tstate/);
      store.update((state) => {
        state.phase = "starting";
        state.owner = { pid: 1, startTime: -1 };
      });
      assert.throws(again, /left over from a crash; remove it: pcnk lab down --name tstate/);
      store.update((state) => state.owner = { pid: 1, startTime: startOf(1) });
      assert.throws(again, /just being made, by process 1/);
      Deno.writeTextFileSync(plan.stateFile, "{");
      assert.throws(again, /left over from a crash/);
    });
  },
);

function startOf(pid: number): number {
  return Number(Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]!.split(" ")[19]);
}

Deno.test("LabStore.open() tells no lab from a broken one", { ignore }, () => {
  assert.throws(() => LabStore.open("tnone"), NoLabError);
  withStore(() => {
    Deno.writeTextFileSync(plan.stateFile, "[1,");
    assert.throws(() => LabStore.open(name), /lab\.json is broken: .*pcnk lab down/);
    Deno.writeTextFileSync(plan.stateFile, '{"version": 99}');
    assert.throws(() => LabStore.open(name), /another version/);
  });
});
