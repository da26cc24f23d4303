/** pcnk's data plane for the benchmarks: installed, filled, put on the pods' devices and taken off again. */
import { attach, type AttachMode, detach } from "../../src/bpf/attach.ts";
import type { DataPlane } from "../../src/bpf/dataplane.ts";
import { installDataPlane } from "../../src/bpf/install.ts";
import { withNetns } from "../../src/linux/netns.ts";
import type { Stage } from "./stage.ts";
import type { BenchPod, Topology } from "./topology.ts";

/** Installs a data plane of its own below the stage's folder, knowing both pods. */
export function installPcnk(stage: Stage, topology: Topology, name: string): DataPlane {
  const { nl, client, server, bridge } = topology;
  const plane = installDataPlane({ bpffs: `${stage.dir}/${name}`, nl });
  stage.defer(() => plane.close());
  for (const pod of [client, server]) addEndpoint(plane, pod, pod.addr, bridge.addr);
  return plane;
}

/** Makes `addr` an address of a pod. */
export function addEndpoint(plane: DataPlane, pod: BenchPod, addr: string, gateway: string): void {
  plane.maps.endpoints.set({ addr }, { ifindex: pod.ifindex, mac: pod.mac, gateway });
}

function hooks(topology: Topology, bpffs: string) {
  const { nl, client, server, bridge } = topology;
  return [
    { ifindex: client.ifindex, direction: "ingress", name: "lbrp_from_pod" } as const,
    { ifindex: server.ifindex, direction: "ingress", name: "lbrp_from_pod" } as const,
    { ifindex: bridge.ifindex, direction: "egress", name: "lbrp_to_pod" } as const,
  ].map((hook) => ({ ...hook, bpffs, nl }));
}

/** Puts the programs on, as the plugin and the agent do. */
export function attachPcnk(topology: Topology, plane: DataPlane, mode: AttachMode): void {
  withNetns(topology.node, () => {
    for (const hook of hooks(topology, plane.bpffs)) {
      attach({ ...hook, programFd: plane.programFd(hook.name), mode });
    }
  });
}

/** Takes the programs off. */
export function detachPcnk(topology: Topology, plane: DataPlane): void {
  withNetns(topology.node, () => hooks(topology, plane.bpffs).forEach(detach));
}
