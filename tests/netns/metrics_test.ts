/** What the agent tells Prometheus, on a node of a lab: figures follow the traffic, and the format is one that can be read. */
import assert from "node:assert/strict";
import { PLUGIN_FOLDERS } from "../../install/conflist.ts";
import { downLab } from "../../src/lab/down.ts";
import type { LabHandle } from "../../src/lab/lab.ts";
import { isThere } from "../../src/lab/leftovers.ts";
import { upLab } from "../../src/lab/up.ts";
import { file, root } from "../support/needs.ts";
import { pcnk } from "../support/pcnk.ts";

const plugins = PLUGIN_FOLDERS.map((folder) => `${folder}/bridge`).find(isThere);
const ignore = !root() || !file(plugins ?? "/opt/cni/bin/bridge");

async function curl(lab: LabHandle, where: string, ...args: string[]): Promise<string> {
  const io = { stdin: "null", stdout: "piped", stderr: "null" } as const;
  const { stdout } = await lab.command(where, ["curl", "-s", "-m", "2", ...args], io).output();
  return new TextDecoder().decode(stdout);
}

/** Samples by `name{labels}`; every line must be of the text format, every sample of a metric with HELP and TYPE. */
function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const known = new Set<string>();
  for (const line of text.split("\n")) {
    const [, kind, name] = /^# (HELP|TYPE) (\w+) \S/.exec(line) ?? [];
    if (kind !== undefined) known.add(`${kind} ${name}`);
    if (line === "" || line.startsWith("#")) continue;
    const [, sample, base, value] = /^((\w+)(?:\{[^}]*\})?) (\S+)$/.exec(line) ?? [];
    assert.ok(sample !== undefined && base !== undefined, `no sample: ${line}`);
    const metric = base.replace(/_(bucket|sum|count)$/, "");
    const told = (kind: string) => known.has(`${kind} ${base}`) || known.has(`${kind} ${metric}`);
    assert.ok(told("HELP") && told("TYPE"), `${base} has no HELP or TYPE`);
    samples.set(sample, Number(value));
  }
  return samples;
}

Deno.test({
  name: "the agent's metrics follow the traffic, the maps and its own work",
  ignore,
  sanitizeResources: false, // processes of a lab outlive the test's handles to them
  sanitizeOps: false,
  async fn() {
    const name = "tmetrics";
    await downLab(name);
    const lab = await upLab({ name, nodes: 1, pods: 2, attach: "clsact", command: pcnk });
    try {
      const url = "http://127.0.0.1:9879/metrics";
      const scrape = async () => parse(await curl(lab, "node1", url));
      const before = await scrape();
      for (let i = 0; i < 5; i++) await curl(lab, "pod1-1", "http://10.96.0.11/");
      await curl(lab, "pod1-1", "http://10.96.1.1/");
      const after = await scrape();
      const grown = (sample: string) => after.get(sample)! - before.get(sample)!;
      assert.equal(grown('pcnk_packets_total{reason="refused_no_backend",result="handled"}'), 5);
      assert.equal(grown('pcnk_events_total{event="session_created"}'), 1);
      assert.equal(grown('pcnk_map_entries{map="sessions"}'), 2);
      assert.equal(after.get('pcnk_map_entries{map="endpoints"}'), 2);
      assert.equal(after.get('pcnk_map_capacity{map="services"}'), 65536);
      assert.equal(after.get('pcnk_reconcile_duration_seconds_count{kind="full"}'), 1);
      assert.ok(after.get("pcnk_change_latency_seconds_count")! >= 1);
      assert.equal(after.get('pcnk_cni_duration_seconds_count{verb="ADD"}'), 2);
      const added = after.get('pcnk_cni_duration_seconds_sum{verb="ADD"}')!;
      assert.ok(added > 0.001 && added < 10, `two ADDs took ${added} s`);
      assert.equal(after.get('pcnk_cni_failures_total{verb="ADD"}'), 0);
      assert.equal(after.get('pcnk_health{check="maps"}'), 1);
      assert.ok(after.get("process_resident_memory_bytes")! > 20e6);
      assert.ok(after.get("process_cpu_seconds_total")! > 0);
      assert.ok(
        [...after.keys()].some((one) =>
          /^pcnk_build_info\{version="[^"]+",commit="[0-9a-f]+/.test(one)
        ),
      );
      const post = await curl(
        lab,
        "node1",
        "-X",
        "POST",
        "-w",
        "%{http_code}",
        "-o",
        "/dev/null",
        url,
      );
      assert.equal(post, "405");
    } finally {
      await downLab(name);
    }
  },
});
