/** A large cluster in a real API server. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiCluster } from "./api_objects.ts";
import { runChild } from "./child.ts";
import type { ControlPlane } from "./control_plane.ts";

/** A kubeconfig that names the server's CA instead of skipping verification, which Deno's fetch cannot. */
export function trustingKubeconfig({ kubeconfig }: ControlPlane): string {
  const config = JSON.parse(readFileSync(kubeconfig, "utf8"));
  const file = `${kubeconfig}-ca`;
  const { server } = config.clusters[0].cluster;
  const ca = join(kubeconfig, "../cert/apiserver.crt");
  config.clusters[0].cluster = { server, "certificate-authority": ca };
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

/** Makes all objects of `cluster`. Ten thousand services take twenty seconds. */
export async function fill(
  control: ControlPlane,
  cluster: ApiCluster,
  signal: AbortSignal,
): Promise<void> {
  await apiChild(control, "fill_child.ts", [JSON.stringify(cluster)], signal);
}

/** Runs a program of this folder in the API server's network namespace, with a kubeconfig and `words`; see child.ts. */
export function apiChild<T>(
  control: ControlPlane,
  program: string,
  words: string[],
  signal: AbortSignal,
): Promise<T> {
  return runChild(program, [trustingKubeconfig(control), ...words], {
    netns: control.netns,
    signal,
  });
}
