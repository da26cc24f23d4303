import assert from "node:assert/strict";
import type { Chain, Hook, Rule } from "../netfilter/chain.ts";
import { addresses, PROTOCOL } from "../netfilter/packet.ts";
import type { Finding } from "./finding.ts";
import { netfilterFindings } from "./netfilter.ts";
import type { NodeNetwork } from "./netfilter_flows.ts";

const bridge = { index: 3, name: "cni0" };
const node: NodeNetwork = {
  own: "192.0.2.1",
  gateway: "10.244.1.1",
  pods: addresses(["10.244.1.0", "10.244.1.255"]),
  remotePods: addresses(["10.244.2.0", "10.244.2.255"]),
  podDevices: [{ index: 7, name: "veth7" }, { index: 8, name: "veth8" }],
  bridge,
  uplinks: [{ index: 2, name: "eth0" }],
  overlay: { device: { index: 4, name: "pcnk_vxlan" }, port: 8472, peers: ["192.0.2.2"] },
  stack: false,
  endpoints: [{ addr: "192.0.2.1", port: 6443, protocol: PROTOCOL.TCP }],
};

function chain(hook: Hook, rules: Rule[] = [], name = `ip filter ${hook.toUpperCase()}`): Chain {
  const policy = rules.length === 0 ? "drop" : "accept";
  const base = { layer: "ip", hook, priority: 0, policy, devices: [] } as const;
  const shown = `nft -a list chain ${name}`;
  return { name, shown, base, rules: () => rules, sibling: () => undefined };
}

Deno.test("netfilterFindings() finds nothing where nothing is dropped", () => {
  assert.deepEqual(netfilterFindings([], node), []);
  const accepting: Rule = { name: "handle 2", steps: [() => ({ kind: "accept" })] };
  assert.deepEqual(netfilterFindings([chain("input", [accepting])], node), []);
});

Deno.test("netfilterFindings() warns of what pods need, with the traffic and what accepts it", () => {
  const [{ health, text, next }, ...rest] = netfilterFindings([chain("input")], node) as [
    Finding,
    ...Finding[],
  ];
  assert.deepEqual(rest, []);
  assert.equal(health, "warn");
  assert.match(text, /^ip filter INPUT \(policy drop\) drops /);
  assert.match(
    text,
    /probes.*Service endpoint 192.0.2.1:6443.*the overlay's tunnel.*own addresses/,
  );
  assert.match(
    next!,
    /`iifname "cni0"`.*`udp dport 8472`.*\(`nft -a list chain ip filter INPUT`\)/,
  );
});

Deno.test("netfilterFindings() notes what takes FORWARD, which is not traffic to the world", () => {
  const [{ health, text, next }] = netfilterFindings([chain("forward")], node) as [Finding];
  assert.equal(health, "note");
  assert.match(text, /^ip filter FORWARD .*no uplinks.*IP options.*not to the world$/);
  assert.match(next!, /`iifname "cni0"` and `oifname "cni0"`/);
  const [stack] = netfilterFindings([chain("forward")], { ...node, stack: true }) as [Finding];
  assert.equal(stack.health, "warn");
  assert.match(stack.text, /to the world and back/);
});

Deno.test("netfilterFindings() names the rule, the protocols, and the program whose chain it is", () => {
  const rule: Rule = {
    name: "handle 9",
    steps: [(e) => e.packet.protocol === PROTOCOL.UDP, () => ({ kind: "drop" })],
  };
  const firewalld = chain("input", [rule], "inet firewalld filter_INPUT");
  const [{ text, next }] = netfilterFindings([firewalld], node) as [Finding];
  assert.match(text, /^inet firewalld filter_INPUT handle 9 drops .*\(UDP\)/);
  assert.match(next!, /firewall-cmd .*--add-interface=cni0 && .*--add-port=8472\/udp/);
  const rich = chain("input", [rule], "inet firewalld filter_IN_trusted_deny");
  const [remedy] = netfilterFindings([rich], node) as [Finding];
  assert.match(remedy.next!, /^remove the rich rule/);
});

Deno.test("netfilterFindings() counts what is too much to list", () => {
  const many = Array.from({ length: 12 }, (_, i) => chain("input", [], `ip t${i} c`));
  const findings = netfilterFindings(many, node);
  assert.equal(findings.length, 9);
  assert.match(findings.at(-1)!.text, /^4 more/);
});
