/** A large cluster in a real API server. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../src/build/steps.ts";
import { commandAt } from "../../src/lab/spawn.ts";
import type { ApiCluster } from "./api_objects.ts";
import type { ControlPlane } from "./control_plane.ts";

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
export async function fill(
  control: ControlPlane,
  cluster: ApiCluster,
  signal: AbortSignal,
): Promise<void> {
  await apiChild(control, "fill_child.ts", [JSON.stringify(cluster)], signal);
}

/**
 * Runs a program of this folder in the API server's network namespace, with a kubeconfig and `words`, and returns what
 * it prints.
 * @throws {Error} with what it said when it fails
 */
export async function apiChild(
  control: ControlPlane,
  program: string,
  words: string[],
  signal: AbortSignal,
): Promise<string> {
  const { success, stdout, stderr } = await commandAt(
    { netnsPath: control.netns, cgroup: null },
    [
      Deno.execPath(),
      ...["run", "-A", "--no-check", join(root, "tests/bench", program)],
      ...[trustingKubeconfig(control), ...words],
    ],
    { stdin: "null", signal },
  ).output();
  signal.throwIfAborted();
  const text = new TextDecoder();
  if (!success) throw new Error(`${program}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}
