/** A large cluster in a real API server. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../src/build/steps.ts";
import type { ApiCluster } from "./api_objects.ts";
import { type ControlPlane, output } from "./control_plane.ts";

/** A kubeconfig that names the server's CA instead of trusting whoever answers, which Deno's fetch cannot. */
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
export async function fill(control: ControlPlane, cluster: ApiCluster): Promise<void> {
  const { success, stderr } = await output(control.netns, [
    Deno.execPath(),
    ...["run", "-A", "--no-check", join(root, "tests/bench/fill_child.ts")],
    trustingKubeconfig(control),
    JSON.stringify(cluster),
  ]);
  if (!success) throw new Error(`filling the API server: ${stderr}`);
}
