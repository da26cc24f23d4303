/** A node of a cluster of manifests on a test machine: installed, its agent, its pods. */
import assert from "node:assert/strict";
import type { TestMachine } from "./machine.ts";

const NODE = `
apiVersion: v1
kind: Node
metadata: { name: node1 }
spec: { podCIDR: 10.244.1.0/24 }
status: { addresses: [{ type: InternalIP, address: 192.0.2.11 }] }
---
apiVersion: v1
kind: Node
metadata: { name: node2 }
spec: { podCIDR: 10.244.2.0/24 }
status: { addresses: [{ type: InternalIP, address: 192.0.2.12 }] }
`;

/** Where it is installed. */
export const PCNK = "/opt/cni/bin/pcnk";
export const CONFIG = "/etc/pcnk/config.yaml";

/** `pcnk install`; words that begin with -- are flags, the others settings. */
export function install(machine: TestMachine, ...more: string[]): string {
  const flags = more.filter((word) => word.startsWith("--"));
  const set = [
    `manifests=/etc/pcnk/cluster`,
    `cgroup=${machine.cgroup}`,
    "cniConfDir=/etc/cni/net.d",
    "nodeName=node1",
    ...more.filter((word) => !word.startsWith("--")),
  ];
  return machine.pcnk("install", ...flags, ...set.flatMap((one) => ["--set", one]));
}

/** Starts the agent, by itself or by the words of a command before it, and waits until it is ready. */
export async function startAgent(
  machine: TestMachine,
  ...before: string[]
): Promise<Deno.ChildProcess> {
  machine.shell(
    `mkdir -p /etc/pcnk/cluster; cat >/etc/pcnk/cluster/nodes.yaml <<'END'\n${NODE}END`,
  );
  const agent = machine.spawn([...before, PCNK, "agent", "--config", CONFIG]);
  await agent.out.line(/"msg":"ready"/);
  return agent.child;
}

/** The chain that a runtime runs for a pod, by hand: bridge, then pcnk. Returns the pod's address. */
export function addPod(machine: TestMachine, name: string): string {
  const { plugins, cniVersion } = JSON.parse(machine.shell("cat /etc/cni/net.d/10-pcnk.conflist"));
  machine.shell(`ip netns add ${name}`);
  let prevResult: unknown;
  for (const plugin of plugins.filter((one: { type: string }) => one.type !== "portmap")) {
    const input = JSON.stringify({ cniVersion, name: "pcnk", ...plugin, prevResult });
    const { code, stdout, stderr } = machine.run([`/opt/cni/bin/${plugin.type}`], {
      input,
      env: {
        CNI_COMMAND: "ADD",
        CNI_CONTAINERID: name,
        CNI_NETNS: `/run/netns/${name}`,
        CNI_IFNAME: "eth0",
        CNI_PATH: "/opt/cni/bin",
      },
    });
    assert.equal(code, 0, stdout + stderr);
    prevResult = JSON.parse(stdout);
  }
  const { ips } = prevResult as { ips: { address: string }[] };
  return ips[0]!.address.split("/")[0]!;
}
