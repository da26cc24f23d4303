/**
 * The agent on a real API server with a large cluster: how soon it is ready, what it weighs, how busy it is when nothing
 * happens, and how long an event takes from the API into the map.
 *
 * Limitation: it shares the API server's network namespace, and the machine's processors with it and with etcd.
 */
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { SCOPE } from "../../src/bpf/layout.ts";
import { closeFd, openFile } from "../../src/linux/libc.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { type Agent, startAgentAt } from "./agent.ts";
import { apiChild, fill, trustingKubeconfig } from "./api_fill.ts";
import { API_PORT, type ApiCluster, apiServiceAddress, nodeBody } from "./api_objects.ts";
import type { ChangeFigures, ChangeJob } from "./change_child.ts";
import { type ControlPlane, placeOn, startControlPlane } from "./control_plane.ts";
import { findKit } from "./kit.ts";
import { type Context, type Measure, pause } from "./measure.ts";
import type { Found } from "./result.ts";
import { agentCgroup, Stage } from "./stage.ts";
import { median, quantile } from "./stats.ts";

/** What the bars speak of: 100,000 endpoints. */
const CLUSTER: ApiCluster & { backends: number } = { services: 10_000, backends: 10, nodes: 5000 };

const TCP = 6;
const UPLINK = "up0";
/** Left alone for so long before it is called idle. */
const SETTLE_MS = 5000;
/** How long idleness is watched. */
const IDLE_MS = 20_000;
/** Changes of endpoints a second, and how many in a round. */
const RATE = 100, CHANGES = 1000;
/** Each kubelet tells every five minutes that it is there (nodeStatusReportFrequency). */
const HEARTBEATS = CLUSTER.nodes / 300;

/** What is seen of one agent from its start to its end. */
interface Life {
  readyS: number;
  idleMB: number;
  peakMB: number;
  /** Per cent of one processor. */
  idleCpu: number;
  beatenCpu: number;
  /** Of single changes, ms. */
  changes: ChangeFigures;
}

export const kubeAgent: Measure = {
  name: "kube-agent",
  about: "the agent on a real API server with 10,000 services, 100,000 endpoints, 5,000 nodes",
  async run(context) {
    const kit = findKit();
    if (typeof kit === "string") {
      console.error(`the agent is not measured on a real API server: ${kit}`);
      return { values: {} };
    }
    const lives: Life[] = [];
    await Stage.with(context.signal, async (stage) => {
      context.progress("API server");
      const control = await startControlPlane(stage, kit, placeOn(stage));
      context.progress("objects");
      await fill(control, CLUSTER, context.signal);
      addUplink(stage, control);
      const count = Math.max(2, Math.floor(context.runs / 7));
      for (let round = 0; round < count; round++) {
        context.progress(`${round + 1}/${count}`);
        lives.push(await live(context, stage, control, round));
      }
    });
    return { values: valuesOf(lives) };
  },
};

/** What the agent takes for the way to the other nodes: theirs are addresses of the same network. */
function addUplink(stage: Stage, { netns }: ControlPlane): void {
  const [address] = nodeBody(0).status.addresses;
  using nl = RtNetlink.open(netns);
  const fd = openFile(stage.netns("wire"));
  try {
    nl.addLink({ name: UPLINK, kind: "veth", up: true, peer: { name: UPLINK, netnsFd: fd } });
  } finally {
    closeFd(fd);
  }
  const ifindex = nl.link(UPLINK)!.index;
  nl.addAddr({ ifindex, address: address!.address, prefixLength: 12 });
}

/** What the agent before has left, as it should: the next one shall set all routes itself. */
function removeOverlay({ netns }: ControlPlane): void {
  using nl = RtNetlink.open(netns);
  const overlay = nl.link("pcnk_vxlan");
  if (overlay) nl.delLink(overlay.index);
}

/** One agent from start to end. */
async function live(context: Context, stage: Stage, control: ControlPlane, round: number) {
  const cgroup = agentCgroup();
  if (cgroup !== null) Deno.mkdirSync(cgroup, { recursive: true });
  removeOverlay(control);
  const kubeconfig = trustingKubeconfig(control);
  const agent = await startAgentAt(stage, control.netns, [
    ...["--kubeconfig", kubeconfig, "--node-name", "node-0", "--uplink", UPLINK],
    ...["--cni-conf-dir", `${stage.dir}/net.d`],
    ...(cgroup === null ? ["--socket-lb", "off"] : ["--cgroup", cgroup]),
  ]);
  const readyS = agent.readyMs / 1000;
  checkMaps(agent);
  await pause(SETTLE_MS, context.signal);
  const idleMB = agent.residentMB();
  const idleCpu = await busy(agent, () => pause(IDLE_MS, context.signal));
  const size = { ...CLUSTER, round };
  const beatenCpu = await busy(agent, () =>
    change(context, control, agent, {
      ...size,
      kind: "heartbeats",
      rate: HEARTBEATS,
      count: Math.round(HEARTBEATS * IDLE_MS / 1000),
    }));
  const changes = await change(context, control, agent, {
    ...size,
    kind: "endpoints",
    rate: RATE,
    count: CHANGES,
  });
  const peakMB = agent.peakMB();
  await agent.stop();
  return { readyS, idleMB, peakMB, idleCpu, beatenCpu, changes };
}

/** @throws {Error} when the agent called itself ready too early */
function checkMaps({ bpffs }: Agent): void {
  using plane = openDataPlane(bpffs);
  for (let i = 0; i < CLUSTER.services; i += 101) {
    const addr = apiServiceAddress(i);
    const entry = plane.maps.services.get({
      addr,
      port: API_PORT,
      proto: TCP,
      scope: SCOPE.CLUSTER,
    });
    if (entry?.count !== CLUSTER.backends) throw new Error(`service ${addr} is not in the map`);
  }
}

/** Per cent of one processor that the agent takes while `work` runs. */
async function busy(agent: Agent, work: () => Promise<unknown>): Promise<number> {
  const cpu = agent.cpuMs(), start = performance.now();
  await work();
  return (agent.cpuMs() - cpu) / (performance.now() - start) * 100;
}

function change(
  { signal }: Context,
  control: ControlPlane,
  agent: Agent,
  job: ChangeJob,
): Promise<ChangeFigures> {
  const words = [agent.bpffs, JSON.stringify(job)];
  return apiChild(control, "change_child.ts", words, signal);
}

function valuesOf(lives: readonly Life[]): Found["values"] {
  const parts = { event: "sent", server: "told", agent: "own" } as const;
  const events = Object.entries(parts).flatMap(([name, part]) => [
    [`${name} p99`, lives.map(({ changes }) => quantile(changes[part], 0.99))] as const,
    [`${name} p50`, lives.map(({ changes }) => median(changes[part]))] as const,
  ]);
  return {
    ...Object.fromEntries(events),
    ready: lives.map(({ readyS }) => readyS),
    memory: lives.map(({ idleMB }) => idleMB),
    peak: lives.map(({ peakMB }) => peakMB),
    idle: lives.map(({ idleCpu }) => idleCpu),
    heartbeats: lives.map(({ beatenCpu }) => beatenCpu),
  };
}
