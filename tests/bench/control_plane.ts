/**
 * etcd and the API server of Kubernetes in a network namespace of their own, as much of a control plane as kube-proxy
 * needs: it asks for Services and EndpointSlices and nothing else. Up in four seconds, and nothing of it is to be seen from
 * outside.
 *
 * Limitation: any process in the namespace with the token may do anything; there are no controllers.
 */
import { apiserver, etcd, writeFiles } from "../../src/build/pictures/control_plane.ts";
import { tail } from "../../src/lab/agents.ts";
import { endProcess, identify } from "../../src/lab/process.ts";
import { commandAt } from "../../src/lab/spawn.ts";
import type { Kit } from "./kit.ts";
import type { Stage } from "./stage.ts";

/** An API object. */
export type ApiObject = { apiVersion: string; kind: string } & Record<string, unknown>;

/** A control plane that answers. */
export interface ControlPlane {
  /** Path of its network namespace; what is to speak to it runs there. */
  netns: string;
  kubeconfig: string;
  kit: Kit;
  /** Creates objects by kubectl. */
  create(objects: readonly ApiObject[]): Promise<void>;
}

const READY_MS = 60_000;
const GRACE_MS = 2000;

/** Starts both and waits until the API server says that it is ready. */
export async function startControlPlane(stage: Stage, kit: Kit): Promise<ControlPlane> {
  const netns = stage.netns("kube");
  const dir = `${stage.dir}/kube`;
  Deno.mkdirSync(dir, { mode: 0o700 });
  const kubeconfig = writeFiles(dir);
  launch(stage, netns, `${dir}/etcd.log`, etcd(dir));
  const log = `${dir}/apiserver.log`;
  const pid = launch(stage, netns, log, apiserver(dir));
  const kubectl = (args: string[], input?: string) =>
    output(netns, [kit.kubectl, `--kubeconfig=${kubeconfig}`, ...args], input);
  const deadline = performance.now() + READY_MS;
  // Each attempt is a process that asks and ends: it takes longer than any pause between two should.
  while (!(await kubectl(["get", "--raw", "/readyz"])).success) {
    stage.signal.throwIfAborted();
    if (performance.now() > deadline || !identify(pid)) {
      throw new Error(`the API server does not get ready; its log ends:\n${tail(log)}`);
    }
  }
  return {
    netns,
    kubeconfig,
    kit,
    async create(objects) {
      const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
      const { success, stderr } = await kubectl(["create", "--validate=false", "-f", "-"], list);
      if (!success) throw new Error(`kubectl create: ${stderr}`);
    },
  };
}

/** Starts a process in a namespace that is ended with the stage; returns its pid. */
export function launch(stage: Stage, netns: string, log: string, command: string[]): number {
  const streams = { stdin: "null", stdout: "null", stderr: "null" } as const;
  const child = commandAt({ netnsPath: netns, cgroup: null }, command, { log, ...streams }).spawn();
  const id = identify(child.pid);
  stage.defer(async () => {
    if (id) await endProcess(id, GRACE_MS);
    await child.status;
  });
  return child.pid;
}

/** Runs a command in a namespace to its end. */
export async function output(
  netns: string,
  command: string[],
  input?: string,
  signal?: AbortSignal,
) {
  const child = commandAt({ netnsPath: netns, cgroup: null }, command, {
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    signal,
  }).spawn();
  const [{ success, stdout, stderr }] = await Promise.all([
    child.output(),
    input === undefined ? undefined : write(child.stdin, input),
  ]);
  const text = new TextDecoder();
  return { success, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

async function write(stream: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stream.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
}
