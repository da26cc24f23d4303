/** The laboratory as a user sees it: the real executable, real namespaces, real plugins. */
import assert from "node:assert/strict";
import { leftovers, snapshot } from "../../src/build/leftovers.ts";
import { downLab } from "../../src/lab/down.ts";
import { LabHandle } from "../../src/lab/lab.ts";
import type { TestReport } from "../../src/lab/report.ts";
import type { LabStatus } from "../../src/lab/status.ts";
import { isThere } from "../../src/node/files.ts";
import { Listener, runPcnk, startPcnk } from "../support/pcnk.ts";
import { LAB_TEST } from "./support/lab.ts";

/** Runs a test around a lab's name; whatever the test does, the lab is gone in the end, and nothing of it is left. */
async function around(name: string, test: () => Promise<void>): Promise<void> {
  await downLab(name);
  const before = snapshot();
  try {
    await test();
  } finally {
    await downLab(name);
  }
  assert.deepEqual(ofLab(name, leftovers(before, snapshot())), []);
}

/** Other tests may run at the same time; the machine's own links stay. */
function ofLab(name: string, lines: string[]): string[] {
  return lines.filter((line) =>
    line.startsWith("link ") || line.includes(`pcnk-${name}`) || line.includes(`/${name}/`)
  );
}

/** Nothing of the lab is there, before any clean-up by the test itself. */
function assertGone(name: string, before: Set<string>): void {
  assert.deepEqual(ofLab(name, leftovers(before, snapshot())), []);
  assert.equal(isThere(`/run/pcnk-lab/${name}`), false);
}

Deno.test("pcnk lab up, test, exec, status, down", LAB_TEST, async (t) => {
  const name = "tlab";
  const of = ["--name", name];
  await around(name, async () => {
    const before = snapshot();

    await t.step("up says what it does and shows what is there", async () => {
      const { code, stdout, stderr } = await runPcnk("lab", "up", ...of);
      assert.equal(code, 0, stderr);
      for (const step of ["network", "agents", "pods", "services"]) {
        assert.match(stderr, new RegExp(`^✓ ${step}`, "m"));
      }
      assert.match(
        stdout,
        /^node2 +192\.168\.50\.12 +10\.244\.2\.0\/24 +pid \d+ +yes +auto +overlay$/m,
      );
      assert.match(stdout, /^pod1-2 +node1 +10\.244\.1\.\d+ +veth\w+ +(tcx|clsact) +pid \d+$/m);
      assert.match(stdout, /^outside +198\.51\.100\.10 +pid \d+$/m);
    });

    await t.step("a second up is refused and harms nothing", async () => {
      const { code, stderr } = await runPcnk("lab", "up", ...of);
      assert.equal(code, 1);
      assert.match(stderr, /lab tlab is up already; pcnk lab status --name tlab/);
    });

    await t.step("status -o json is the same as a program sees it", async () => {
      const { code, stdout } = await runPcnk("lab", "status", "-o", "json", ...of);
      const status: LabStatus = JSON.parse(stdout);
      assert.equal(code, 0);
      assert.equal(status.phase, "up");
      assert.deepEqual(status.nodes.map((node) => node.ready), [true, true]);
      assert.deepEqual(status.pods.map((pod) => pod.name), [
        "pod1-1",
        "pod1-2",
        "pod2-1",
        "pod2-2",
      ]);
      assert.ok(status.pods.every((pod) => pod.server !== null && pod.attached !== "no"));
    });

    await t.step("test is all green", async () => {
      const { code, stdout, stderr } = await runPcnk("lab", "test", ...of);
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /^\d+ passed, 0 failed$/m);
    });

    await t.step("exec runs in pods and on nodes and hands over the exit code", async () => {
      const script = "ip -br address show eth0; exit 7";
      const inPod = await runPcnk("lab", "exec", ...of, "pod1-1", "--", "sh", "-c", script);
      assert.equal(inPod.code, 7, inPod.stderr);
      assert.match(inPod.stdout, /^eth0@\S+ +UP +10\.244\.1\.\d+\/24/);
      const variables = ["sh", "-c", 'ls "$PCNK_BPFFS/map"; cat /proc/self/cgroup'];
      const onNode = await runPcnk("lab", "exec", ...of, "node2", "--", ...variables);
      assert.match(onNode.stdout, /^services$/m);
      assert.match(onNode.stdout, /^0::\/pcnk-tlab\/node2$/m);
      const outside = await runPcnk("lab", "exec", ...of, "outside", "--", "ip", "-br", "address");
      assert.match(outside.stdout, /198\.51\.100\.10\/24/);
      const itself = await runPcnk("lab", "exec", ...of, "node1", "--", "pcnk", "get", "services");
      assert.equal(itself.code, 0, itself.stderr);
      assert.match(itself.stdout, /^default +echo +80\/TCP /m);
      const killed = await runPcnk("lab", "exec", ...of, "pod1-1", "--", "sh", "-c", "kill -9 $$");
      assert.equal(killed.code, 137, killed.stderr);
      const nowhere = await runPcnk("lab", "exec", ...of, "pod9", "--", "true");
      assert.equal(nowhere.code, 1);
      assert.match(nowhere.stderr, /no node or pod "pod9".*node1, node2, pod1-1/);
    });

    await t.step("down removes everything and says so when there is nothing", async () => {
      const { code, stderr } = await runPcnk("lab", "down", ...of);
      assert.equal(code, 0, stderr);
      assertGone(name, before);
      const again = await runPcnk("lab", "down", ...of);
      assert.equal(again.code, 0);
      assert.match(again.stderr, /nothing to remove/);
    });
  });
});

/** Starts `lab up`, kills it when a line of its progress appears, runs `lab down`, and looks for what is left. */
async function crash(name: string, line: RegExp, after: () => void = () => {}): Promise<void> {
  await around(name, async () => {
    const before = snapshot();
    const up = startPcnk("lab", "up", "--name", name, "--nodes", "1", "--pods", "3");
    const said = new Listener(up.stderr);
    await said.line(line);
    up.kill("SIGKILL");
    await Promise.all([up.status, up.stdout.cancel(), said.all()]);
    after();
    const down = await runPcnk("lab", "down", "--name", name);
    assert.equal(down.code, 0, down.stderr);
    assertGone(name, before);
  });
}

Deno.test(
  "pcnk lab down cleans up after a crash of up: while agents start",
  LAB_TEST,
  () => crash("tcrasha", /^✓ network/),
);

Deno.test(
  "pcnk lab down cleans up after a crash of up: while pods are wired",
  LAB_TEST,
  () => crash("tcrashb", /^✓ agents/),
);

Deno.test(
  "pcnk lab down cleans up after a crash of up: with all pods there",
  LAB_TEST,
  () => crash("tcrashc", /^✓ pods/),
);

Deno.test(
  "pcnk lab down needs no state file",
  LAB_TEST,
  () => crash("tcrashd", /^✓ pods/, () => Deno.removeSync("/run/pcnk-lab/tcrashd/lab.json")),
);

Deno.test("pcnk lab up, stopped by SIGINT, takes everything down", LAB_TEST, async () => {
  const name = "tsigint";
  await around(name, async () => {
    const before = snapshot();
    const up = startPcnk("lab", "up", "--name", name);
    const said = new Listener(up.stderr);
    await said.line(/^✓ agents/);
    up.kill("SIGINT");
    const [text, { code }] = await Promise.all([said.all(), up.status, up.stdout.cancel()]);
    assert.equal(code, 130, text);
    assert.match(text, /^✓ undo.*\npcnk: stopped by SIGINT$/m);
    assertGone(name, before);
  });
});

for (const routing of ["overlay", "direct"] as const) {
  for (const attach of ["tcx", "clsact"] as const) {
    Deno.test(`pcnk lab test is all green: 3 nodes, ${routing}, ${attach}`, LAB_TEST, async () => {
      const name = "tmatrix";
      await around(name, async () => {
        const modes = ["--routing", routing, "--attach", attach];
        const up = await runPcnk("lab", "up", "--name", name, "--nodes", "3", ...modes);
        assert.equal(up.code, 0, up.stderr);
        const lab = LabHandle.open(name);
        assert.equal(await mtuOf(lab, "pod2-1"), routing === "overlay" ? 1450 : 1500);
        const route = await lab.output("node1", ["ip", "route", "get", "10.244.3.7"]);
        assert.match(route.stdout, routing === "overlay" ? / dev pcnk_vxlan / : / dev eth0 /);
        const { code, stdout } = await runPcnk("lab", "test", "-o", "json", "--name", name);
        const { rows }: TestReport = JSON.parse(stdout);
        assert.deepEqual(rows.filter((row) => row.status === "failed"), []);
        assert.deepEqual(rows.filter((row) => row.status === "no pair"), []);
        assert.equal(code, 0);
      });
    });
  }
}

/** MTU of a pod's eth0, in bytes. */
async function mtuOf(lab: LabHandle, pod: string): Promise<number> {
  const { stdout } = await lab.output(pod, ["ip", "link", "show", "eth0"]);
  return Number(/ mtu (\d+) /.exec(stdout)?.[1]);
}

Deno.test("pcnk lab demo makes the round trip and leaves nothing", LAB_TEST, async () => {
  const name = "tdemo";
  await around(name, async () => {
    const before = snapshot();
    const { code, stdout, stderr } = await runPcnk("lab", "demo", "--name", name, "--nodes", "1");
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /^All green, and nothing is left behind\.$/m);
    assertGone(name, before);
  });
});

Deno.test("pcnk lab demo, stopped by SIGTERM, leaves nothing", LAB_TEST, async () => {
  const name = "tdemostop";
  await around(name, async () => {
    const before = snapshot();
    const demo = startPcnk("lab", "demo", "--name", name, "--nodes", "1");
    const said = new Listener(demo.stderr);
    await said.line(/^✓ services/);
    demo.kill("SIGTERM");
    const [text, { code }] = await Promise.all([said.all(), demo.status, demo.stdout.cancel()]);
    assert.equal(code, 143, text);
    assertGone(name, before);
  });
});

Deno.test("pcnk lab demo does not touch a lab that is up", LAB_TEST, async () => {
  const name = "tdemoup";
  await around(name, async () => {
    const up = await runPcnk("lab", "up", "--name", name, "--nodes", "1", "--pods", "0");
    assert.equal(up.code, 0, up.stderr);
    const demo = await runPcnk("lab", "demo", "--name", name);
    assert.equal(demo.code, 1);
    assert.match(demo.stderr, /lab tdemoup is up already/);
    const status = await runPcnk("lab", "status", "--name", name);
    assert.match(status.stdout, /^node1 .* yes /m);
  });
});

Deno.test("pcnk lab test turns red, with a reason, when a server has died", LAB_TEST, async () => {
  const name = "tred";
  const of = ["--name", name];
  await around(name, async () => {
    const up = await runPcnk("lab", "up", "--nodes", "1", ...of);
    assert.equal(up.code, 0, up.stderr);
    await LabHandle.open(name).stopServer("pod1-2");
    const { code, stdout } = await runPcnk("lab", "test", "-o", "json", ...of);
    const report: TestReport = JSON.parse(stdout);
    assert.equal(code, 1);
    const row = report.rows.find((each) =>
      each.title === "pod → pod, same node" && each.protocol === "TCP"
    );
    assert.equal(row?.status, "failed");
    const red = row?.cells.filter((cell) => !cell.ok);
    assert.deepEqual(
      red?.map(({ source, target, reason, hint }) => ({ source, target, reason, hint })),
      [{
        source: "pod1-1",
        target: "pod1-2",
        reason: "refused (TCP reset)",
        hint: "the server in pod1-2 is not running",
      }],
    );
    const ping = report.rows.find((each) =>
      each.title === "pod → pod, same node" && each.protocol === "ping"
    );
    assert.equal(ping?.status, "ok");
    const table = await runPcnk("lab", "test", ...of);
    assert.equal(table.code, 1);
    assert.match(table.stdout, /✗ refused/);
    assert.match(table.stdout, /hint: the server in pod1-2 is not running/);
  });
});
