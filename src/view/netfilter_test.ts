import assert from "node:assert/strict";
import type { Finding } from "./finding.ts";
import { netfilterFindings } from "./netfilter.ts";

const place = { device: "cni0", stack: false, overlayPort: 8472 };

Deno.test("netfilterFindings() finds nothing where nothing is dropped", () => {
  assert.deepEqual(netfilterFindings({ closed: [], kubeProxy: false }, place), []);
  const other = { name: "ip raw PREROUTING", hook: "prerouting", by: "policy" } as const;
  assert.deepEqual(netfilterFindings({ closed: [other], kubeProxy: false }, place), []);
});

Deno.test("netfilterFindings() names the chains, the traffic and the rule that accepts it", () => {
  const [finding, ...rest] = netfilterFindings({
    closed: [
      { name: "ip filter FORWARD", hook: "forward", by: "policy" },
      { name: "inet firewalld filter_FORWARD", hook: "forward", by: "rule" },
    ],
    kubeProxy: false,
  }, place);
  assert.deepEqual(rest, []);
  assert.match(
    finding!.text,
    /^ip filter FORWARD \(policy drop\), inet firewalld filter_FORWARD \(its last rule\) may drop .*no uplinks.*IP options/,
  );
  assert.match(finding!.next!, /iifname "cni0"` and `oifname "cni0"/);
});

Deno.test("netfilterFindings() names the tunnel's port where INPUT drops", () => {
  const closed = [{ name: "ip filter INPUT", hook: "input", by: "policy" } as const];
  const [{ text, next }] = netfilterFindings({ closed, kubeProxy: false }, place) as [Finding];
  assert.match(text, /all packets of other nodes' pods/);
  assert.match(next!, /`iifname "cni0"` and `udp dport 8472`/);
  const direct = netfilterFindings({ closed, kubeProxy: false }, { ...place, overlayPort: 0 });
  assert.doesNotMatch(`${direct[0]!.text} ${direct[0]!.next}`, /tunnel|udp dport/);
});

Deno.test("netfilterFindings() names kube-proxy's rules, and pods' traffic to the world if it takes the stack", () => {
  const chain = { name: "ip filter FORWARD", hook: "forward", by: "policy" } as const;
  const texts = netfilterFindings({ closed: [chain], kubeProxy: true }, { ...place, stack: true })
    .map(({ text }) => text);
  assert.match(texts[0]!, /to the world and back/);
  assert.match(texts[1]!, /kube-proxy/);
});
