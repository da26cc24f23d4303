/** `pcnk manifest`: prints what a cluster needs to run pcnk on every node. */
import { Command } from "@commander-js/extra-typings";
import { kubernetesMinor, manifest, manifestKeys, renderManifest } from "../../install/manifest.ts";
import { readSetOptions } from "../../install/set_options.ts";
import { UsageError } from "./usage.ts";
import { removalPod } from "../../install/removal_pod.ts";
import { readVersion } from "./version.ts";

/** The `manifest` subcommand. */
export function command() {
  const command = new Command("manifest")
    .description(
      "Print ServiceAccount, RBAC, ConfigMap and DaemonSet of pcnk, for kubectl apply -f -. " +
        "kubectl delete -f - of the same output removes pcnk from the nodes.",
    )
    .option(
      "--set <KEY=VALUE>",
      "Set a setting of the agents, or one of the keys below; may be repeated",
      collect,
      [] as string[],
    )
    .option(
      "--kubernetes <VERSION>",
      "Use what the cluster's version has: admission policies from 1.30 on (default: what 1.20 has)",
    )
    .option(
      "--remove-from <NODE>",
      "Print a Pod that removes pcnk from this node, if its agent was not running when the DaemonSet was deleted",
    )
    .addHelpText("after", footer)
    .action(({ set, removeFrom, kubernetes }) => {
      const options = readSetOptions(set, manifestKeys);
      const { version } = readVersion();
      const text = removeFrom === undefined
        ? renderManifest(manifest(options, version, minorOf(kubernetes)), version)
        : renderManifest(
          [removalPod(options, version, checkedNode(removeFrom), minorOf(kubernetes))],
          version,
          "kubectl apply -f this, and kubectl delete -f this when the pod has Succeeded",
        );
      console.log(text.trimEnd());
    });
  return command;
}

function minorOf(kubernetes: string | undefined): number | undefined {
  try {
    return kubernetes === undefined ? undefined : kubernetesMinor(kubernetes);
  } catch (error) {
    throw new UsageError(`--kubernetes ${kubernetes}: ${(error as Error).message}`);
  }
}

function checkedNode(name: string): string {
  if (/^[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?$/.test(name)) return name;
  throw new UsageError(`--remove-from ${name}: must be the name of a Node`);
}

/** For options that may be repeated. */
export function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

const footer = `
Keys besides the agent's settings (pcnk agent --help):
  image            default localhost/pcnk:VERSION
  imagePullPolicy  Always, IfNotPresent (default) or Never
  arch             amd64, arm64 or amd64,arm64: what the image has (default: as this executable)
  namespace        default kube-system
  apiServer        HOST:PORT where agents reach the API server; needed where no kube-proxy serves it
  cniBinDir        default /opt/cni/bin
  kernel           the nodes' oldest Linux; before 5.11 the agent needs one more capability

Example:
  pcnk manifest --set apiServer=192.0.2.10:6443 --set routing=direct | kubectl apply -f -
  pcnk manifest --kubernetes 1.33 --set apiServer=192.0.2.10:6443 | kubectl apply -f -
  pcnk manifest --remove-from node7 | kubectl apply -f -      with the same --set
`;
