/** pcnk on the cluster, by its users' way: an image, and the objects that `pcnk manifest` prints. */
import { join } from "node:path";
import { root } from "../../../src/build/steps.ts";
import { runPcnk } from "../../support/pcnk.ts";
import { BARE, type Kit, type Provider } from "./kit.ts";
import { until } from "./poll.ts";
import { run } from "./run.ts";

/** What the manifest is given unless a test wants another. */
export const IMAGE = "localhost/pcnk:test";
export const NAMESPACE = "kube-system";

/** Name of the DaemonSet, and label `app.kubernetes.io/name` of its pods. */
export const NAME = "pcnk";

/** Makes an image of dist/pcnk; returns its file. */
export async function buildImage(kit: Kit, tag: string): Promise<string> {
  const file = imageFile(kit, tag);
  const script = ["run", "-A", "install/image.ts", "--tag", tag, "--out", file];
  const command = [Deno.execPath(), ...script];
  await run(command, { ms: 60_000, cwd: root });
  return file;
}

const imageFile = (kit: Kit, tag: string) => {
  return join(kit.place.dir, `${tag.replace(/\W/g, "-")}.tar`);
};

/** What `pcnk manifest` prints for this cluster. */
export async function manifest(kit: Kit, settings: Record<string, string> = {}): Promise<string> {
  const all = {
    image: IMAGE,
    imagePullPolicy: "Never",
    // Before pcnk runs nothing serves the API's ClusterIP.
    apiServer: `${kit.apiServer}:16443`,
    cgroup: "/sys/fs/cgroup/unified",
    ...settings,
  };
  const flags = Object.entries(all).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const { code, stdout, stderr } = await runPcnk("manifest", ...flags);
  if (code !== 0) throw new Error(`pcnk manifest: ${stderr}`);
  return stdout;
}

/** Applies the manifest; waits until an agent runs on every node and all nodes are Ready. */
export async function install(kit: Kit, settings: Record<string, string> = {}): Promise<void> {
  await kit.kubectl(["apply", "-f", "-"], { input: await manifest(kit, settings) });
  await rolledOut(kit);
  await nodesReady(kit);
}

/**
 * Waits until the DaemonSet has its pods of the newest template ready on all nodes. Kubelet 1.20 sometimes deletes a pod whose
 * containers have ended only after its next collection of containers, a minute later; the nodes take their turns.
 */
export async function rolledOut(kit: Kit, ms = 210_000): Promise<void> {
  const status = ["rollout", "status", `daemonset/${NAME}`, `--timeout=${ms / 1000}s`];
  await kit.kubectl(["-n", NAMESPACE, ...status], { ms: ms + 5000 });
}

/** Waits until all nodes are Ready. */
export async function nodesReady(kit: Kit, ms = 60_000): Promise<void> {
  const wait = ["wait", "--for=condition=Ready", "nodes", "--all", `--timeout=${ms / 1000}s`];
  await kit.kubectl(wait, { ms: ms + 5000 });
}

/** The agent's pod on a node: `pod/NAME`. */
export async function agentPod(kit: Kit, node: number): Promise<string> {
  const field = `spec.nodeName=${kit.nodeName(node)}`;
  const list = ["get", "pods", "-l", LABEL, "--field-selector", field, "-o", "name"];
  return (await kit.kubectl(["-n", NAMESPACE, ...list])).trim().split("\n")[0]!;
}

/** Waits until no process of pcnk runs on these nodes. */
export async function pcnkGone(kit: Kit, nodes: readonly number[], ms = 60_000): Promise<void> {
  for (const node of nodes) {
    await until(`pcnk has gone from node ${node}`, ms, async () => {
      return (await kit.tryInNode(node, ["pgrep", "-x", "pcnk"])).code === 1;
    });
  }
}

/** How often the agent's container on a node was started anew. */
export async function restarts(kit: Kit, node: number): Promise<number> {
  const path = "jsonpath={.status.containerStatuses[0].restartCount}";
  const pod = await agentPod(kit, node);
  return Number(await kit.kubectl(["-n", NAMESPACE, "get", pod, "-o", path]));
}

/** The agent's process id inside its node. */
export async function agentPid(kit: Kit, node: number): Promise<number> {
  const pids = (await kit.inNode(node, ["pgrep", "-f", "^[^ ]*pcnk agent"])).trim().split("\n");
  if (pids.length !== 1) throw new Error(`agents on node ${node}: ${pids}`);
  return Number(pids[0]);
}

/** All that agents have logged since their containers started. */
export async function logs(kit: Kit): Promise<string> {
  const words = ["logs", "-l", LABEL, "--all-containers", "--tail=-1"];
  return await kit.kubectl(["-n", NAMESPACE, ...words]);
}

/** What the agent of a node says of its health: HTTP status and body. */
export async function health(kit: Kit, node: number): Promise<{ status: number; body: string }> {
  const url = "http://127.0.0.1:9879/healthz";
  const words = ["curl", "-s", "-m", "3", "--noproxy", "*", "-w", "\n%{http_code}", url];
  const { stdout } = await kit.tryInNode(node, words);
  const at = stdout.lastIndexOf("\n");
  return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) };
}

const LABEL = `app.kubernetes.io/name=${NAME}`;

export const pcnk: Provider = {
  name: "pcnk",
  nodeOptions: { ...BARE, EXTRA_IMAGES: "agnhost" },

  async start(kit, nodes) {
    const image = await kit.timed("image", () => buildImage(kit, IMAGE));
    for (const node of nodes) await kit.timed("import", () => kit.importImage(node, image));
    await install(kit);
  },

  async join(kit, nodes) {
    for (const node of nodes) await kit.importImage(node, imageFile(kit, IMAGE));
    await rolledOut(kit);
    await nodesReady(kit);
  },

  async report(kit) {
    const list = ["get", "pods", "-l", LABEL, "-o", "name"];
    const pods = await kit.tryKubectl(["-n", NAMESPACE, ...list], { ms: 10_000 });
    const parts: string[] = [];
    for (const pod of pods.stdout.trim().split("\n").filter((name) => name !== "")) {
      for (const flags of [[], ["--previous"]]) {
        const words = ["logs", pod, "--all-containers", "--tail=40", ...flags];
        const { stdout, stderr } = await kit.tryKubectl(["-n", NAMESPACE, ...words], {
          ms: 10_000,
        });
        if (stdout !== "" || flags.length === 0) {
          parts.push(`── ${pod} ${flags.join(" ")}\n${stdout}${stderr}`);
        }
      }
    }
    return parts.join("\n");
  },
};
