/**
 * One endpoint of ten thousand services changes: how long until the data plane has it. pcnk: from the object until the
 * map holds the backend, p99 of a hundred changes. kube-proxy: iptables-restore alone, which is a part of its way.
 */
import { API_NAMESPACE, API_PORT, subsets } from "./api_objects.ts";
import { output } from "./control_plane.ts";
import { findKit } from "./kit.ts";
import { kubeProxyRules } from "../../src/measure/kubeproxy.ts";
import { partialUpdate } from "./kubeproxy_partial.ts";
import { timeProcess } from "./load.ts";
import { MANY, manyApiServices, type ManyPeer, withKubeProxy } from "./many.ts";
import { interleave, type Measure } from "./measure.ts";
import { reconcileOnce } from "./scale.ts";
import { Stage } from "./stage.ts";
import { quantile } from "./stats.ts";
import { CLUSTER_CIDR } from "../../src/measure/lab_testbed.ts";
import { iptablesMissing, runIn } from "../../src/measure/variants.ts";

/** A round of each contender. */
type Contenders = Record<string, () => Promise<number>>;

const NFT = "/usr/sbin/iptables-restore";
const LEGACY = "/usr/sbin/iptables-legacy-restore";
/** As kube-proxy calls it. */
const FLAGS = ["-w", "5", "-W", "100000", "--noflush", "--counters"];

/** Against kube-proxy's reprogramming, and against what newer versions of it write. */
export const reprogram: Measure = {
  name: "reprogram",
  about: "one endpoint of 10,000 services changes, against kube-proxy's iptables-restore",
  async run(context) {
    const missing = iptablesMissing();
    if (missing) {
      console.error(`not compared with iptables: ${missing}`);
      return { values: {} };
    }
    const rounds = { ...context, runs: Math.max(3, Math.floor(context.runs / 5)) };
    const compare = async (stage: Stage, real: Contenders = {}) => {
      const contenders = { ...pcnkContender(stage), ...real, ...generated(stage) };
      return { values: await interleave(rounds, contenders) };
    };
    const kit = findKit();
    if (typeof kit !== "string") {
      return await withKubeProxy(context, kit, (peer) => compare(peer.stage, realProxy(peer)));
    }
    console.error(`not compared with the real kube-proxy: ${kit}`);
    return await Stage.with(context.signal, (stage) => compare(stage));
  },
};

/** 10,000 services with ten backends each: more than what the others are given. */
function pcnkContender(stage: Stage): Contenders {
  const netns = stage.netns("reprogram");
  let round = 0;
  return {
    "pcnk p99": async () => {
      const bpffs = `${stage.dir}/bpf${round++}`;
      const { updates } = await reconcileOnce(bpffs, netns, stage.signal);
      return quantile(updates, 0.99);
    },
  };
}

/** kube-proxy as it runs, and what it writes handed to the old iptables. */
function realProxy({ stage, control, proxy }: ManyPeer): Contenders {
  const old = stage.netns("legacy");
  let round = 0;
  return {
    "kube-proxy 1.20, iptables-restore": async () => {
      const address = `10.244.2.${++round}`;
      const patch = JSON.stringify({ subsets: subsets([address]) });
      const service = `service-${round * 7919 % MANY}`;
      const kubectl = [control.kit.kubectl, `--kubeconfig=${control.kubeconfig}`];
      const words = [
        "patch",
        "endpoints",
        service,
        "-n",
        API_NAMESPACE,
        "--type=merge",
        "-p",
        patch,
      ];
      const { success, stderr } = await output(control.netns, [...kubectl, ...words]);
      if (!success) throw new Error(`kubectl patch: ${stderr}`);
      const wanted = `--to-destination ${address}:${API_PORT}`;
      return (await proxy.restored((input) => input.includes(wanted))).ms;
    },
    "its input by iptables-legacy-restore": async () => {
      const { input } = await proxy.restored(() => true);
      return await restore(stage, old, LEGACY, input);
    },
  };
}

/** Rules of the form of 1.31, and what is written after a change of one service. */
function generated(stage: Stage): Contenders {
  const services = manyApiServices();
  const netns = stage.netns("partial"), old = stage.netns("partial-legacy");
  const full = kubeProxyRules(services, CLUSTER_CIDR);
  runIn(netns, [NFT], full);
  runIn(old, [LEGACY], full);
  let round = 0;
  const update = () => {
    const changed = ++round * 7919 % MANY;
    const backends = [{ addr: `10.244.2.${round}`, port: API_PORT }];
    const other = services.map((service, i) => i === changed ? { ...service, backends } : service);
    return partialUpdate(kubeProxyRules(other, CLUSTER_CIDR), [changed]);
  };
  return {
    "partial iptables-restore": () => restore(stage, netns, NFT, update()),
    "partial iptables-legacy-restore": () => restore(stage, old, LEGACY, update()),
  };
}

/** Milliseconds of the process. */
async function restore(
  { dir, signal }: Stage,
  netns: string,
  program: string,
  stdin: string,
): Promise<number> {
  return (await timeProcess([program, ...FLAGS], { dir, netns, stdin, signal })).ms;
}
