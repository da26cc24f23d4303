/** `pcnk bench` as a user calls it: the real tools in a laboratory of its own. Figures are looked at for being there, never for speed. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { leftovers, snapshot } from "../../src/build/leftovers.ts";
import { downLab } from "../../src/lab/down.ts";
import { LabHandle } from "../../src/lab/lab.ts";
import { netnsKey, processesIn } from "../../src/lab/process.ts";
import type { Report } from "../../src/measure/report.ts";
import { PATHS } from "../../src/measure/testbed.ts";
import { root } from "../support/needs.ts";
import { pcnk, runPcnk, startPcnk } from "../support/pcnk.ts";

const options = { ignore: !root(), sanitizeResources: false, sanitizeOps: false };

/** Runs a test around a laboratory's name and a folder; afterwards nothing is left, whatever the test does. */
async function around(name: string, test: (folder: string) => Promise<void>): Promise<void> {
  await downLab(name);
  const folder = Deno.makeTempDirSync({ prefix: "pcnk-bench-" });
  const before = snapshot();
  try {
    await test(folder);
    const left = leftovers(before, snapshot()).filter((line) => line.includes(name));
    deepEqual(left, [], "left by pcnk bench itself");
  } finally {
    await downLab(name);
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test(
  "pcnk bench measures all ways with every peer, and writes the report",
  options,
  async () => {
    await around("tbench", async (folder) => {
      const only = "rr-tcp,connections,first-packet,services-connect";
      const { code, stdout, stderr } = await runPcnk(
        ...["bench", "--only", only, "--runs", "1", "--services", "10"],
        ...["--name", "tbench", "--out", folder],
      );
      equal(code, 0, stderr);
      match(stdout, /^rr-tcp +pod→service, two nodes +[\d.]+ µs .*kube-proxy iptables, .* nft$/m);
      const report: Report = JSON.parse(Deno.readTextFileSync(`${folder}/report.json`));
      deepEqual(report.measures.map(({ id }) => id), only.split(","));
      const [rr] = report.measures;
      const found = (contender: string) =>
        rr!.lines.filter((line) => line.contender === contender).map(({ path }) => path);
      deepEqual(found("pcnk"), PATHS.slice(1));
      deepEqual(found("nft"), PATHS.slice(1));
      deepEqual(found("kube-proxy iptables"), PATHS.slice(1));
      deepEqual(found("plain"), PATHS.filter((path) => !path.includes("service")));
      for (const { id, lines } of report.measures) {
        for (const { contender, path, points, failed } of lines) {
          equal(failed, undefined, `${id}, ${contender}, ${path}`);
          const samples = points.flatMap(({ samples }) => samples);
          ok(
            samples.length > 0 && samples.every((value) => value > 0),
            `${id}, ${contender}, ${path}`,
          );
        }
      }
      const text = Deno.readTextFileSync(`${folder}/report.md`);
      for (const [, picture] of text.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)) {
        match(Deno.readTextFileSync(`${folder}/${picture}`), /^<svg /);
      }
    });
  },
);

Deno.test("pcnk bench that is stopped keeps what it has, and leaves nothing", options, async () => {
  await around("tstop", async (folder) => {
    const args = ["--only", "rr-tcp", "--runs", "50", "--peers", "none", "--name", "tstop"];
    const child = startPcnk("bench", ...args, "--json", `${folder}/report.json`);
    const output = child.output();
    await clientRuns("tstop", 3);
    child.kill("SIGINT");
    const { code, stderr } = await output;
    equal(code, 130, new TextDecoder().decode(stderr));
    const report: Report = JSON.parse(Deno.readTextFileSync(`${folder}/report.json`));
    ok(report.measures[0]!.lines.length > 0);
    match(report.notes.at(-1)!, /stopped before its end/);
  });
});

Deno.test("pcnk bench measures between two pods as they are", options, async () => {
  await around("tpods", async (folder) => {
    const up = await runPcnk("lab", "up", "--name", "tpods", "--nodes", "1");
    equal(up.code, 0, up.stderr);
    const lab = LabHandle.open("tpods");
    const { bpffs, dir } = lab.node("node1");
    const run = (...args: string[]) =>
      lab.output("node1", [...pcnk, "bench", ...args, "--bpffs", bpffs, "--state-dir", dir]);
    const wrong = await run("--from", "lab/nobody", "--to", "lab/pod1-2");
    equal(wrong.code, 1);
    match(wrong.stderr, /^pcnk: no pod "lab\/nobody" on this node; pods of it: .*pod1-1/m);
    const [from, to] = ["pod1-1", "pod1-2"].map((name) => podName(wrong.stderr, name));
    const done = await run(
      ...["--from", from!, "--to", to!, "--only", "rr-tcp,first-packet", "--runs", "1"],
      ...["--json", `${folder}/report.json`],
    );
    equal(done.code, 0, done.stderr);
    const report: Report = JSON.parse(Deno.readTextFileSync(`${folder}/report.json`));
    const shape = report.measures.map((
      { id, lines },
    ) => [id, lines.map(({ contender, path, failed }) => [contender, path, failed])]);
    const line = [["pcnk", "pod→pod, one node", undefined]];
    deepEqual(shape, [["rr-tcp", line], ["first-packet", line]]);
    await downLab("tpods");
  });
});

Deno.test("pcnk bench asks first where its report can be written", options, async () => {
  const file = Deno.makeTempFileSync();
  try {
    const wrong: [string[], RegExp][] = [
      [["--out", file], /--out .* is no directory/],
      [["--json", "/nowhere/r.json"], /there is no directory \/nowhere/],
      [["--json", "/tmp"], /--json \/tmp is a directory/],
      [["--from", "a/b"], /--from and --to belong together/],
      [["--only", "speed"], /there is no measure "speed"; there are tcp, /],
      [["--peers", "cilium"], /there is no peer "cilium"/],
    ];
    for (const [args, why] of wrong) {
      const { code, stderr } = await runPcnk("bench", ...args);
      match(stderr, why);
      equal(code, 2, stderr);
    }
    const gone = await runPcnk("bench", "--redraw", "/nowhere/r.json");
    equal(gone.code, 1);
    match(gone.stderr, /^pcnk: \/nowhere\/r\.json is not there$/m);
  } finally {
    Deno.removeSync(file);
  }
});

/** `namespace/name` as the error lists it. */
function podName(list: string, name: string): string | undefined {
  return new RegExp(`[^ ,]*/${name}\\b`).exec(list)?.[0];
}

/** Waits until the client's pod has had so many processes, one after the other: then there are figures. */
async function clientRuns(lab: string, count: number): Promise<void> {
  const seen = new Set<number>();
  const end = performance.now() + 60_000;
  while (seen.size < count) {
    if (performance.now() > end) {
      throw new Error("no client of the benchmark was seen for a minute");
    }
    const key = netnsKey(`/run/netns/pcnk-${lab}-pod1-1`);
    for (const { pid } of key ? processesIn(new Set([key])) : []) {
      if (comm(pid) === "sockperf") seen.add(pid);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function comm(pid: number): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/comm`).trim();
  } catch {
    return "";
  }
}
