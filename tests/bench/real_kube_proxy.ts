/**
 * The rules of the real kube-proxy (iptables mode): it runs against a real API server in a namespace of its own until it
 * has written them, and they are taken from there. They are the same wherever it runs: what it does for NodePorts says "a
 * local address", none by name.
 */
import { tail } from "../../src/lab/agents.ts";
import { identify } from "../../src/lab/process.ts";
import { type ControlPlane, launch, output } from "./control_plane.ts";
import type { Stage } from "./stage.ts";

const SYNC_MS = 60_000;
/** kube-proxy's own log and rules are all there is to look at; a look takes some milliseconds. */
const LOOK_EVERY_MS = 50;

/**
 * Starts kube-proxy and waits until its rules hold each of `wanted`.
 * @param wanted texts that the rules have when they are complete, e.g. `--to-destination 10.244.2.2:8080`
 * @returns what iptables-save says, for iptables-restore
 */
export async function realKubeProxyRules(
  stage: Stage,
  control: ControlPlane,
  options: { node: string; clusterCIDR: string; wanted: readonly string[] },
): Promise<string> {
  const { netns } = control;
  const log = `${stage.dir}/kube/kube-proxy.log`;
  const pid = launch(stage, netns, log, kubeProxyCommand(control, options));
  const deadline = performance.now() + SYNC_MS;
  while (true) {
    const { stdout } = await output(netns, ["iptables-save"]);
    const missing = options.wanted.find((text) => !stdout.includes(text));
    if (missing === undefined) return stdout;
    stage.signal.throwIfAborted();
    if (performance.now() > deadline || !identify(pid)) {
      throw new Error(
        `kube-proxy has written no rule with ${missing}; its log ends:\n${tail(log)}`,
      );
    }
    await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
  }
}

export function kubeProxyCommand(
  { kit, kubeconfig }: ControlPlane,
  { node, clusterCIDR }: { node: string; clusterCIDR: string },
): string[] {
  return [
    kit.kubeProxy,
    `--kubeconfig=${kubeconfig}`,
    `--hostname-override=${node}`,
    "--proxy-mode=iptables",
    `--cluster-cidr=${clusterCIDR}`,
    "--bind-address=127.0.0.1",
    "--healthz-bind-address=127.0.0.1:10256",
    "--metrics-bind-address=127.0.0.1:10249",
    // Not to write parameters that are the whole machine's.
    ...["--conntrack-max-per-core=0", "--conntrack-min=0", "--oom-score-adj=0"],
    ...["--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"],
  ];
}
