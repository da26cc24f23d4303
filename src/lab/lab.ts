/**
 * A lab that is up, for those who work with it: tests, benchmarks, the commands.
 *
 * ```ts
 * const lab = await upLab({ name: "mytest", nodes: 1, pods: 2 });
 * try {
 *   const { code } = await lab.output("pod1-1", ["ping", "-c1", lab.pod("pod1-2").address]);
 * } finally {
 *   await downLab("mytest");
 * }
 * ```
 */
import { startAgent, stopAgent } from "./agents.ts";
import { placeOf, testLab } from "./connectivity.ts";
import { type LabService, labServices, type Manifest } from "./manifests.ts";
import { type NodePlan, planPod } from "./plan.ts";
import { addPod, deletePod, nodeOf, startServer, stopServer } from "./pods.ts";
import { type Progress, silent } from "./progress.ts";
import type { TestReport } from "./report.ts";
import { readyPods, settle, writeManifest, writeManifests } from "./services.ts";
import { commandAt } from "./spawn.ts";
import { LabStore, type PodState, type PortMapping } from "./state.ts";

/** A lab that is up. Names of nodes are `node1`…, of pods `pod1-1`… or what `addPod` was told. */
export class LabHandle {
  constructor(readonly store: LabStore) {}

  /** @throws NoLabError when none of that name is up. */
  static open(name: string): LabHandle {
    return new LabHandle(LabStore.open(name));
  }

  get name(): string {
    return this.store.plan.options.name;
  }

  /** @throws Error when there is no such node. */
  node(name: string): NodePlan {
    return nodeOf(this.store, name);
  }

  /** @throws Error when there is no such pod. */
  pod(name: string): PodState {
    const pod = this.store.state.pods[name];
    if (!pod) throw new Error(`no pod ${JSON.stringify(name)} in lab ${this.name}`);
    return pod;
  }

  get pods(): PodState[] {
    return Object.values(this.store.state.pods);
  }

  /** A command to run in a pod or on a node; not started yet. */
  command(name: string, argv: string[], options: Deno.CommandOptions = {}): Deno.Command {
    return commandAt(placeOf(this.store, name), argv, options);
  }

  /** Runs a command in a pod or on a node to its end and returns what it said. */
  async output(
    name: string,
    argv: string[],
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const { code, stdout, stderr } = await this.command(name, argv, { stdin: "null" }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  }

  /** Adds a pod with a server. Services learn of it by `publish`. */
  async addPod(node: string, name: string, portMappings: PortMapping[] = []): Promise<PodState> {
    await addPod(this.store, planPod(this.name, node, name), portMappings);
    await startServer(this.store, name);
    return this.pod(name);
  }

  /** Removes a pod; see pods.ts. Services forget it by `publish`. */
  async deletePod(name: string): Promise<void> {
    await deletePod(this.store, planPod(this.name, this.pod(name).node, name));
  }

  startServer = (pod: string): Promise<void> => startServer(this.store, pod);
  stopServer = (pod: string): Promise<void> => stopServer(this.store, pod);

  /** Starts a node's agent and waits until it is ready. */
  startAgent = (node: string): Promise<void> => startAgent(this.store, this.node(node));
  /** Ends a node's agent, with `kill` by SIGKILL, and waits until it is gone. */
  stopAgent = (node: string, kill = false) => stopAgent(this.store, this.node(node), kill);

  /** The services with the pods that are ready now. */
  services(): LabService[] {
    return labServices(this.store.plan, readyPods(this.store));
  }

  /** Writes the manifests with the pods that are ready now and waits until all nodes' maps hold them. */
  async publish(): Promise<LabService[]> {
    const services = writeManifests(this.store, readyPods(this.store));
    await settle(this.store, services);
    return services;
  }

  /** Writes a manifest file of the caller's own beside the lab's, `NAME.yaml`. */
  writeManifest(name: string, objects: Manifest[]): void {
    writeManifest(this.store, name, objects);
  }

  /** Runs the connectivity matrix. */
  test(progress: Progress = silent, signal?: AbortSignal): Promise<TestReport> {
    return testLab(this.store, progress, signal);
  }
}
