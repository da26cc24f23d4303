/**
 * Each object of src/upkeep/table.ts is broken in turn while datagrams flow: the agent mends it, `pcnk status` and /readyz are well
 * afterwards, and say what is wrong as long as it is not. With PCNK_REPAIR=FILE the figures of docs/repair.md are written there.
 */
import assert from "node:assert/strict";
import { parse, stringify } from "yaml";
import { tail } from "../../src/lab/agents.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { PLUGIN_FOLDERS, SHIPPED_PLUGINS } from "../../src/node/conflist.ts";
import { pcnk } from "../support/pcnk.ts";
import { type Break, mendable, type Names } from "./repair/breaks.ts";
import { lasting } from "./repair/lasting.ts";
import { HOST_PORT, mapBreaks } from "./repair/map_breaks.ts";
import { Streams } from "./repair/streams.ts";
import { LAB_TEST, pcnkOn, withLab } from "./support/lab.ts";

/** Long, because other tests may run; what is measured on an idle machine is in docs/repair.md. */
const patienceMs = 30_000;

async function sh(lab: LabHandle, command: Break["command"]) {
  if (typeof command === "function") return { code: command() ? 0 : 1, stdout: "" };
  return await lab.output("node1", ["sh", "-c", `{ ${command}; } 2>&1`]);
}

/** Waits until a command succeeds; returns the milliseconds that it took. */
async function until(lab: LabHandle, command: Break["well"], since: number): Promise<number> {
  for (;;) {
    const { code } = await sh(lab, command);
    const ms = performance.now() - since;
    if (code === 0) return ms;
    const log = ms < patienceMs ? "" : tail(lab.node("node1").agentLog);
    assert.ok(ms < patienceMs, `not well after ${patienceMs / 1000} s: ${command}\n${log}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** The texts of `pcnk status`' problems, and the answer of /readyz. */
async function told(lab: LabHandle): Promise<{ status: string; ready: string }> {
  const { stdout } = await pcnkOn(lab, "status", "-o", "json", "--peers", "0");
  const { findings } = JSON.parse(stdout) as { findings: { health: string; text: string }[] };
  const bad = findings.filter(({ health }) => health === "bad" || health === "warn");
  const ready = await sh(lab, "curl -s http://127.0.0.1:9879/readyz");
  return { status: bad.map(({ text }) => text).join("\n"), ready: ready.stdout };
}

/** Gives the agent a configuration folder and a folder of plugins of its own, and starts it again. */
async function prepare(lab: LabHandle): Promise<Names> {
  const { bpffs, dir: stateDir, agentConfig } = lab.node("node1");
  const names = { conf: stateDir, bin: `${stateDir}/bin` }; // the conflist by which the lab adds pods
  Deno.mkdirSync(names.bin);
  const [own] = pcnk;
  Deno.copyFileSync(own!, `${names.bin}/pcnk`);
  for (const name of SHIPPED_PLUGINS) {
    const from = PLUGIN_FOLDERS.map((one) => `${one}/${name}`).find((path) => isFile(path));
    Deno.copyFileSync(from!, `${names.bin}/${name}`);
  }
  const config = parse(Deno.readTextFileSync(agentConfig));
  const changed = { ...config, cniConfDir: names.conf, cniBinDir: names.bin };
  Deno.writeTextFileSync(agentConfig, stringify(changed));
  await lab.stopAgent("node1");
  await lab.startAgent("node1");
  const { veth } = lab.pod("pod1-1");
  const { stdout } = await lab.output("node1", ["ip", "-o", "link", "show", veth]);
  const ifindex = parseInt(stdout);
  return { ...names, bpffs, stateDir, veth, ifindex, cgroup: config.cgroup };
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Datagrams lost in the periods until one without a loss, and the longest time without an answer. */
async function lostUntilWell(streams: Streams, what: string) {
  const total = await streams.period();
  const start = performance.now();
  for (let more = total; Object.values(more).some(({ lost }) => lost > 0);) {
    assert.ok(performance.now() - start < patienceMs, `${what}: datagrams are lost for ever`);
    more = await streams.period();
    for (const path of Object.keys(more) as (keyof typeof more)[]) {
      total[path].lost += more[path].lost;
      total[path].gap_ms = Math.max(total[path].gap_ms, more[path].gap_ms);
    }
  }
  return total;
}

/** Breaks an object and waits until it is well; returns a row for docs/repair.md. */
async function breakAndMend(
  lab: LabHandle,
  streams: Streams,
  { row, what, command, well }: Break,
): Promise<string> {
  await streams.period();
  const start = performance.now();
  const { code, stdout } = await sh(lab, command);
  assert.equal(code, 0, `${command}: ${stdout}`);
  const ms = await until(lab, well, start);
  const lost = Object.values(await lostUntilWell(streams, what)).map(({ lost, gap_ms }) =>
    lost === 0 ? "0" : `${lost} (${gap_ms} ms)`
  );
  return `| ${row} | \`${what}\` | ${Math.round(ms)} | ${lost.join(" | ")} |`;
}

/** What docs/repair.md promises. A machine that is busy for a moment gets another two attempts. */
const REPORT_MS = 5000;

/** Breaks and waits for the report, mends and waits for its end. */
async function breakAndTell(lab: LabHandle, names: Names) {
  for (const { what, command, told: expected, undo, ofAgent } of lasting(names)) {
    let ms = Infinity;
    for (let attempt = 0; attempt < 3 && ms > REPORT_MS; attempt++) {
      const start = performance.now();
      const broken = await sh(lab, command);
      assert.equal(broken.code, 0, `${what}: ${broken.stdout}`);
      const pattern = expected.source.replaceAll("\\S", "[^ ]").replaceAll("'", ".");
      await until(lab, `curl -s http://127.0.0.1:9879/readyz | grep -qE '${pattern}'`, start);
      ms = performance.now() - start;
      if (!ofAgent) assert.match((await told(lab)).status, expected, what);
      await sh(lab, undo);
      await until(lab, READY, performance.now());
    }
    assert.ok(ms <= REPORT_MS, `${what}: reported after ${Math.round(ms)} ms, three times`);
    assert.equal((await told(lab)).status, "", what);
  }
}

/** Records are damaged while no agent runs: no pod is named as one to delete, and the next agent makes them whole. */
async function damageRecords(lab: LabHandle, { stateDir }: Names) {
  await lab.stopAgent("node1");
  const files = `${stateDir}/attachments/*`;
  assert.equal((await sh(lab, `for file in ${files}; do echo '{' > $file; done`)).code, 0);
  const { stdout } = await pcnkOn(lab, "status", "-o", "json", "--peers", "0");
  assert.match(stdout, /the record of pod .* is gone or damaged; the pod works/);
  assert.doesNotMatch(stdout, /delete/);
  await lab.startAgent("node1");
  assert.equal((await told(lab)).status, "");
  assert.equal((await sh(lab, `grep -L hostIfname ${files} | grep .`)).code, 1);
}

/** `pcnk status` names the firewall and not the agent. */
async function hideAgent(lab: LabHandle) {
  await sh(lab, "iptables -P INPUT DROP");
  const { stdout } = await pcnkOn(lab, "status", "-o", "json", "--peers", "0");
  await sh(lab, "iptables -P INPUT ACCEPT");
  assert.match(stdout, /a firewall rule of this node drops packets on its loopback device to 127/);
  assert.doesNotMatch(stdout, /does not respond/);
}

const READY = "curl -sf http://127.0.0.1:9879/readyz";

/** Another podCIDR: new pods get its addresses; those that run keep their gateway and are named. */
async function changePodCIDR(lab: LabHandle) {
  const nodes = `${lab.store.plan.manifests}/nodes.yaml`;
  const text = Deno.readTextFileSync(nodes);
  Deno.writeTextFileSync(nodes, text.replaceAll("10.244.1.0/24", "10.245.1.0/24"));
  const bridge = "ip -o -4 addr show pcnk0 | sed -n '1p;2p' | grep -o 'inet [0-9./]*' | xargs";
  const wanted = "inet 10.245.1.1/24 inet 10.244.1.1/24";
  await until(lab, `test "$(${bridge})" = "${wanted}"`, performance.now());
  const pod = await lab.addPod("node1", "moved");
  assert.match(pod.address, /^10\.245\.1\./);
  assert.match(
    (await told(lab)).status,
    /pod default\/pod1-1 \(10\.244\.1\.2\) has an address outside of/,
  );
  await lab.deletePod("moved");
  Deno.writeTextFileSync(nodes, text);
  await until(lab, "ip -o -4 addr show pcnk0 | head -1 | grep -q 10.244.1.1/24", performance.now());
}

/** As after `kubectl delete -f` and `apply`: the node's state is gone, pods run. */
async function loseState(lab: LabHandle, { stateDir }: Names) {
  await lab.stopAgent("node1");
  const state = ["ipam", "attachments", "objects.json", "datapath.json"];
  const files = state.map((name) => `${stateDir}/${name}`).join(" ");
  assert.equal((await sh(lab, `rm -r ${files} && ip link del pcnk0`)).code, 0);
  await lab.startAgent("node1");
  const { status } = await told(lab);
  for (const address of ["10.244.1.2", "10.244.1.3"]) {
    assert.match(status, new RegExp(`${address} \\(device veth\\w+\\) is not attached any more`));
  }
  const taken = ["10.244.1.1", "10.244.1.2", "10.244.1.3"];
  for (const name of ["new1", "new2"]) {
    const { address } = await lab.addPod("node1", name);
    assert.ok(!taken.includes(address), `${name} got ${address}, which another pod has`);
    taken.push(address);
  }
}

Deno.test(
  "each object of a node is broken under load, is mended, and is reported while it is not",
  LAB_TEST,
  () =>
    withLab({ name: "trepair", nodes: 2, pods: 2, attach: "clsact" }, async (lab) => {
      const names = await prepare(lab);
      {
        await using streams = new Streams(lab);
        const figures: string[] = [];
        await lab.addPod("node1", "ported", [{
          hostPort: HOST_PORT.port,
          containerPort: 80,
          protocol: "tcp",
        }]);
        for (const one of [...mendable(names), ...mapBreaks(names)]) {
          figures.push(await breakAndMend(lab, streams, one));
          await until(lab, READY, performance.now());
          assert.equal((await told(lab)).status, "", one.what);
        }
        const file = Deno.env.get("PCNK_REPAIR");
        if (file !== undefined) Deno.writeTextFileSync(file, figures.join("\n") + "\n");
      }
      assert.doesNotMatch(Deno.readTextFileSync(lab.node("node1").agentLog), /"stack"/);
      await lab.deletePod("ported");
      await breakAndTell(lab, names);
      await hideAgent(lab);
      await changePodCIDR(lab);
      await damageRecords(lab, names);
      await loseState(lab, names);
    }),
);
