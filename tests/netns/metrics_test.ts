/** What the agent tells Prometheus, on a node of a lab: figures follow the traffic, and the format is one that can be read. */
import assert from "node:assert/strict";
import type { LabHandle } from "../../src/lab/lab.ts";
import { isThere } from "../../src/node/files.ts";
import { labTest } from "./support/lab.ts";

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

/**
 * What `promtool check metrics` complains of: https://prometheus.io/docs/practices/naming/. That tool itself where it is
 * installed (Debian's prometheus, 96 MB, too much to ask for), and in any case the rules that matter here.
 */
async function lint(text: string): Promise<void> {
  for (const [, name = "", type] of text.matchAll(/^# TYPE (\S+) (\w+)$/gm)) {
    assert.match(name, /^(pcnk|process)(_[a-z0-9]+)+$/);
    assert.equal(/_total$/.test(name), type === "counter", `${name} is a ${type}`);
    assert.doesNotMatch(
      name,
      /_(count|sum|bucket|milliseconds|ms|kilobytes|percent|gauge|counter)$/,
    );
    if (/duration|latency|timestamp|_time_/.test(name)) assert.match(name, /_seconds(_total)?$/);
    if (/bytes|memory/.test(name)) assert.match(name, /_bytes(_total)?$/);
  }
  for (const [, name, help] of text.matchAll(/^# HELP (\S+)(?: (.*))?$/gm)) {
    assert.match(help ?? "", /^\S.*\.$/, `help of ${name}`);
  }
  const tool = ["/usr/bin/promtool", "/usr/local/bin/promtool"].find(isThere);
  if (tool === undefined) return;
  const child = new Deno.Command(tool, {
    args: ["check", "metrics"],
    stdin: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { code, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

labTest("the agent's metrics follow the traffic, the maps and its own work", {
  name: "tmetrics",
  nodes: 1,
  pods: 2,
}, async (lab) => {
  const url = "http://127.0.0.1:9879/metrics";
  const scrape = async () => parse(await curl(lab, "node1", url));
  const before = await scrape();
  for (let i = 0; i < 5; i++) await curl(lab, "pod1-1", "http://10.96.0.11/");
  await curl(lab, "pod1-1", "http://10.96.1.1/");
  const answer = await curl(lab, "node1", url);
  await lint(answer);
  const after = parse(answer);
  const grown = (sample: string) => after.get(sample)! - before.get(sample)!;
  assert.equal(grown('pcnk_packets_total{reason="rejected_no_backend",result="handled"}'), 5);
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
});
