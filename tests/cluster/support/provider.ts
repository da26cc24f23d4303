/**
 * What makes the network of the cluster under test: pcnk, or what CLUSTER_PROVIDER names. `reference`, the bridge plugin and
 * kube-proxy, is the yardstick of the tests: what fails with both is the test's fault.
 */
import process from "node:process";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../../src/build/steps.ts";
import { BARE, type Provider } from "./kit.ts";
import { nodesReady, pcnk } from "./pcnk.ts";

const reference: Provider = {
  name: "reference",
  nodeOptions: { EXTRA_IMAGES: "agnhost" },
  start: async () => {},
  join: async () => {},
  report: (kit) => Promise.resolve(`── kube-proxy of node 1\n${kit.logTail("kube-proxy", 20, 1)}`),
};

/** pcnk as a process of each node, without a DaemonSet: for work on the data plane. */
const hook: Provider = {
  name: "hook",
  nodeOptions: {
    ...BARE,
    EXTRA_IMAGES: "agnhost",
    CNI_BIN: pluginFolder(),
    NODE_HOOK:
      `exec ${root}/dist/pcnk agent --kubeconfig $KUBECONFIG --node-name $NODE --cgroup /sys/fs/cgroup/unified`,
  },
  start: (kit) => nodesReady(kit),
  join: (kit) => nodesReady(kit),
  report: (kit) => {
    return Promise.resolve(
      [1, 2].map((i) => `── agent ${i}\n${kit.logTail("hook", 20, i)}`).join("\n"),
    );
  },
};

/** A folder with the executable alone, which the kit copies to the nodes. */
function pluginFolder(): string {
  const folder = join(root, "dist/cni");
  if (process.env.CLUSTER_PROVIDER !== "hook") return folder;
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(root, "dist/pcnk"), join(folder, "pcnk"));
  return folder;
}

const providers = { reference, hook, pcnk };
export const provider =
  providers[(process.env.CLUSTER_PROVIDER ?? "pcnk") as keyof typeof providers];
