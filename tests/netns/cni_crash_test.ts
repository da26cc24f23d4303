/** ADD that fails or dies halfway, on the real kernel: nothing of it stays, or a record by which DEL and GC clean up. */
import assert from "node:assert/strict";
import { add, type AddStep } from "../../cni/add.ts";
import { readConfig } from "../../cni/config.ts";
import { Log } from "../../cni/log.ts";
import * as needs from "../support/needs.ts";
import { runIn, textOf } from "./cni/process.ts";
import { CniWorld, type WiredPod } from "./cni/world.ts";

const available = needs.root() && needs.file("dist/artifacts/lbrp.bpf.o");
const tcx = needs.kernel(6, 6);
const STEPS: AddStep[] = [
  ...["record", "device", "lbrp_to_pod", "lbrp_from_pod", "port", "endpoint", "host port"] as const,
];
const SCRIPT = new URL("cni/killed_add.ts", import.meta.url).pathname;

const MAPPED = { runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80 }] } };

/** A test in both modes, on a node where one pod is already, with another that comes. */
function test(name: string, fn: (world: CniWorld, pod: WiredPod) => void | Promise<void>): void {
  for (const attach of ["tcx", "clsact"] as const) {
    Deno.test({
      name: `${name} (${attach})`,
      ignore: !available || (attach === "tcx" && !tcx),
      async fn() {
        using world = new CniWorld({ attach });
        await fn(world, world.pod("10.1.0.2"));
      },
    });
  }
}

/** ADD in this process that fails before `step`. */
function failAt(world: CniWorld, pod: WiredPod, step: AddStep): void {
  const { containerID, ifname, prevResult, netns } = pod;
  const config = readConfig(world.config({ prevResult, ...MAPPED }));
  const container = { containerID, ifname, netns: netns.path };
  const fail = (next: AddStep) => {
    if (next === step) throw new Error(`no ${step}`);
  };
  const call = () => add(config, container, new Log("error", {}), fail);
  assert.throws(() => world.inside(call), { message: `no ${step}` });
}

/** ADD in a process that is killed before `step`. */
async function killAt(world: CniWorld, pod: WiredPod, step: AddStep): Promise<void> {
  const env = {
    CNI_CONTAINERID: pod.containerID,
    CNI_NETNS: pod.netns.path,
    CNI_IFNAME: pod.ifname,
  };
  const command = [Deno.execPath(), "run", "-A", "--no-check", "--quiet", SCRIPT, step];
  const config = JSON.stringify(world.config({ prevResult: pod.prevResult, ...MAPPED }));
  const { code, stderr } = await runIn(world.node.path, command, env, config);
  assert.equal(code, 128 + 9, textOf(stderr));
}

/** What each step leaves behind when the next one does not come. */
function traces(world: CniWorld) {
  const { attachments, devices, programs, endpoints } = world.snapshot();
  return [attachments.length, devices.length, programs.length, endpoints.length];
}
const LEFT: Record<AddStep, number[]> = {
  record: [0, 0, 0, 0],
  device: [1, 0, 0, 0],
  lbrp_to_pod: [1, 1, 0, 0],
  lbrp_from_pod: [1, 1, 1, 0],
  port: [1, 1, 2, 0],
  endpoint: [1, 1, 2, 0],
  "host port": [1, 1, 2, 1],
};

test("ADD that fails before any step leaves nothing", (world, pod) => {
  const before = world.snapshot();
  for (const step of STEPS) {
    failAt(world, pod, step);
    assert.deepEqual(world.snapshot(), before, step);
  }
  world.add(world.pod("10.1.0.3"));
  const shared = world.snapshot();
  for (const step of STEPS) {
    failAt(world, pod, step);
    assert.deepEqual(world.snapshot(), shared, step);
  }
});

test("ADD again that fails before any step leaves the attachment whole", (world, pod) => {
  const portMappings = [{ hostPort: 9090, containerPort: 80 }];
  world.add(pod, { config: { runtimeConfig: { portMappings } } });
  const ports = () => world.plane.maps.host_ports.entries();
  const before = [world.snapshot(), ports()];
  for (const step of STEPS) {
    failAt(world, pod, step);
    assert.deepEqual([world.snapshot(), ports()], before, step);
    assert.equal(world.call("CHECK", pod).code, 0);
  }
});

test(
  "ADD that is killed before any step is cleaned up by DEL, by GC, or by the next ADD",
  async (world, pod) => {
    for (const step of STEPS) {
      await killAt(world, pod, step);
      assert.deepEqual(traces(world), LEFT[step], step);
      assert.equal(world.call("DEL", pod).code, 0);
      const { endpoints, attachments } = world.snapshot();
      const ports = world.plane.maps.host_ports.entries();
      assert.deepEqual([endpoints, attachments, ports], [[], [], []], step);

      await killAt(world, pod, step);
      assert.equal(world.gc([]).code, 0);
      assert.deepEqual(world.snapshot().attachments, []);
      assert.equal(world.snapshot().programs.some((line) => line.startsWith("veth")), false);

      await killAt(world, pod, step);
      world.add(pod);
      assert.equal(world.call("CHECK", pod).code, 0, step);
      world.call("DEL", pod);
      // The bridge keeps its program; for the next step it shall be bare again.
      world.node.nl.delClsact(world.bridge);
      for (const name of world.snapshot().links) Deno.removeSync(`${world.bpffs}/link/${name}`);
      assert.deepEqual(traces(world), [0, 0, 0, 0]);
    }
  },
);
