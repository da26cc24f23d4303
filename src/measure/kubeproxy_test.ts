import assert from "node:assert/strict";
import { kubeProxyRules } from "./kubeproxy.ts";

const backends = [{ addr: "10.244.1.3", port: 8080 }, { addr: "10.244.1.4", port: 8080 }];
const rules = kubeProxyRules([{ addr: "10.96.0.1", port: 80, backends }], "10.244.0.0/16");
const lines = rules.split("\n");

Deno.test("kubeProxyRules() gives each backend but the last its share of what is left", () => {
  const picks = lines.filter((line) => line.startsWith("-A KUBE-SVC-") && line.includes(" -> "));
  assert.equal(picks.length, 2);
  assert.match(picks[0]!, /--mode random --probability 0\.5000000000 -j KUBE-SEP-/);
  assert.doesNotMatch(picks[1]!, /statistic/);
});

Deno.test("kubeProxyRules() declares every chain that a rule jumps to", () => {
  const declared = new Set(lines.flatMap((line) => /^:(\S+)/.exec(line)?.[1] ?? []));
  const targets = lines.flatMap((line) => /-j (KUBE-\S+)/.exec(line)?.[1] ?? []);
  assert.deepEqual(targets.filter((target) => !declared.has(target)), []);
});

Deno.test("kubeProxyRules() masquerades hairpin flows and what comes from outside the cluster", () => {
  assert.ok(
    lines.some((line) => /KUBE-SEP-\S+ .*-s 10\.244\.1\.3\/32 -j KUBE-MARK-MASQ/.test(line)),
  );
  assert.ok(
    lines.some((line) => /KUBE-SVC-\S+ .*! -s 10\.244\.0\.0\/16 -j KUBE-MARK-MASQ/.test(line)),
  );
});

Deno.test("kubeProxyRules() keeps chain names within iptables' 28 characters, each one's own", () => {
  const many = Array.from(
    { length: 300 },
    (_, i) => ({ addr: `10.96.1.${i}`, port: 80, backends }),
  );
  const names = kubeProxyRules(many, "10.244.0.0/16").split("\n")
    .flatMap((line) => /^:(KUBE-S(?:VC|EP)-\S+)/.exec(line)?.[1] ?? []);
  assert.equal(new Set(names).size, 900);
  assert.ok(names.every((name) => name.length <= 28));
});

Deno.test("kubeProxyRules() leads a NodePort to its service, masqueraded", () => {
  const service = {
    addr: "10.96.0.1",
    port: 80,
    protocol: "udp",
    nodePort: 30080,
    backends,
  } as const;
  const text = kubeProxyRules([service], "10.244.0.0/16");
  const chain = /-A KUBE-NODEPORTS .*-p udp -m udp --dport 30080 -j (KUBE-EXT-\d+)$/m.exec(text)
    ?.[1];
  assert.ok(chain);
  const rules = text.split("\n").filter((line) => line.startsWith(`-A ${chain} `));
  assert.match(rules[0]!, /-j KUBE-MARK-MASQ$/);
  assert.match(rules[1]!, /-j KUBE-SVC-\d+$/);
  assert.ok(text.includes(`\n:${chain} `));
});
