/**
 * Traffic between two pods of one node: through pcnk's service, through the plain bridge, through kube-proxy's iptables
 * rules; the same two pods and the same server in turns.
 */
import { reasonIndex } from "../../src/bpf/reasons.ts";
import { rulesVariant } from "../../src/measure/carriers.ts";
import { kubeProxyRules } from "../../src/measure/kubeproxy.ts";
import { CLUSTER_CIDR } from "../../src/measure/lab_testbed.ts";
import { iptablesMissing, Switch, type Variant } from "../../src/measure/variants.ts";
import { type Figures, measure as load, microseconds, type Mode, perSecond } from "./load.ts";
import { pinnedAt, type Target } from "./load.ts";
import { interleave, type Measure } from "./measure.ts";
import { installPcnk, type OneNode, oneNode, type Pcnk, PORT, VIP } from "./one_node.ts";
import { Stage } from "./stage.ts";
import { bareVariant } from "./variants.ts";

type Contender = { variant: Variant | undefined; target: Target };

function contendersOf(testbed: OneNode, pcnk: Pcnk, iptables: Variant, port: number) {
  const pod = { addr: testbed.server.addr, port }, service = { addr: VIP, port };
  return {
    "plain bridge": { variant: undefined, target: pod },
    "plain bridge without netfilter": { variant: bareVariant(testbed), target: pod },
    "pcnk service": { variant: pcnk, target: service },
    "pcnk, pod to pod": { variant: pcnk, target: pod },
    "iptables service": { variant: iptables, target: service },
  } satisfies Record<string, Contender>;
}

function traffic(
  [name, about]: readonly [string, string],
  mode: Mode,
  figure: (figures: Figures) => number,
  names: readonly (keyof ReturnType<typeof contendersOf>)[],
): Measure {
  const run: Measure["run"] = async (context) => {
    const { sliceMs: ms, signal } = context;
    const missing = iptablesMissing();
    if (missing) console.error(`not compared with iptables: ${missing}`);
    return await Stage.with(signal, async (stage) => {
      const testbed = await oneNode(stage);
      const port = mode === "bulk" ? PORT + 1 : PORT;
      const services = [{ addr: VIP, port, backends: [{ addr: testbed.server.addr, port }] }];
      const pcnk = installPcnk(stage, testbed, context.attach, services);
      const rules = kubeProxyRules(services, CLUSTER_CIDR);
      const iptables = rulesVariant([{ netnsPath: testbed.node }], ["iptables-restore"], rules);
      const contenders = contendersOf(testbed, pcnk, iptables, port);
      const toggle = new Switch();
      stage.defer(() => toggle.to(undefined));
      const values = await interleave(
        context,
        Object.fromEntries(
          names.filter((each) => each !== "iptables service" || !missing).map((
            each,
          ) => [each, async () => {
            const { variant, target } = contenders[each];
            toggle.to(variant);
            return figure(await load(mode, pinnedAt(testbed.client.netns), target, { ms, signal }));
          }]),
        ),
      );
      const counters = pcnk.plane.maps.counters.get(reasonIndex("forward_delivered"));
      if (!counters?.some(({ packets }) => packets > 0n)) {
        throw new Error("no packet of the service went through pcnk");
      }
      return { values };
    });
  };
  return { name, about, run };
}

const ALL = ["plain bridge", "pcnk service", "iptables service"] as const;

export const rr = traffic(
  ["rr", "TCP request/response through a service, against plain bridge and iptables"],
  "rr",
  microseconds,
  [...ALL, "pcnk, pod to pod", "plain bridge without netfilter"],
);
export const bulk = traffic(
  ["bulk", "TCP throughput of one stream, likewise"],
  "bulk",
  ({ rate }) => rate / 1e9,
  ALL,
);
export const connections = traffic(
  ["connections", "new TCP connections a second, likewise"],
  "crr",
  perSecond,
  ALL,
);
export const udp = traffic(
  ["udp", "UDP request/response, likewise"],
  "udprr",
  microseconds,
  ["pcnk service", "plain bridge"],
);
