/**
 * A service among ten thousand: its first packet and its request/response, through pcnk, through the rules of the real
 * kube-proxy (iptables mode, on nf_tables and on the old tables), through an nftables ruleset of the form that kube-proxy's nft
 * mode writes. Each has a node with two pods of its own, all alike, so that ten thousand services are loaded once and not
 * at every turn.
 */
import { kubeProxyRules } from "../../src/measure/kubeproxy.ts";
import { CLUSTER_CIDR, nftOf } from "../../src/measure/lab_testbed.ts";
import { iptablesMissing, runIn } from "../../src/measure/variants.ts";
import { API_PORT, apiServiceAddress } from "./api_objects.ts";
import { findKit } from "./kit.ts";
import { measure as load, microseconds, pinnedAt, type Target } from "./load.ts";
import { kubeProxyManyRules, MANY, manyApiServices, SERVER } from "./many.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import { installPcnk, type OneNode, oneNode } from "./one_node.ts";
import type { Found } from "./result.ts";
import { Stage } from "./stage.ts";

/** How many of the services are visited in turns; kube-proxy's rules are in no order, so some are early and some late. */
const VISITED = 100;

const TARGETS: Record<"connect" | "rr", Target> = {
  connect: { addr: apiServiceAddress(0), port: API_PORT, addresses: VISITED, step: MANY / VISITED },
  rr: { addr: apiServiceAddress(MANY / 2), port: API_PORT },
};

/** Puts the ten thousand services on a node, as each contender has them. */
const INSTALL: Record<string, (stage: Stage, node: OneNode, c: Context, rules: string) => void> = {
  pcnk: (stage, testbed, { attach }) => installPcnk(stage, testbed, attach, manyApiServices()).on(),
  iptables: (_, { node }, __, rules) => runIn(node, ["iptables-restore"], rules),
  "old iptables": (_, { node }, __, rules) => runIn(node, ["iptables-legacy-restore"], rules),
  nft: (_, { node, bridge }) =>
    runIn(node, ["nft", "-f", "-"], nftOf(manyApiServices(), [bridge.addr])),
};

/** The measure of two rows of bars: against iptables at ten thousand services, and against nft. */
export const manyServices: Measure = {
  name: "many",
  about: "first packet and request/response at 10,000 services, against kube-proxy's and nft's",
  async run(context) {
    const missing = iptablesMissing();
    if (missing) {
      console.error(`not compared with iptables and nft: ${missing}`);
      return { values: {} };
    }
    const kit = findKit();
    const note = typeof kit === "string"
      ? `rules of kube-proxy's form, not its own: ${kit}`
      : undefined;
    const rules = typeof kit === "string"
      ? kubeProxyRules(manyApiServices(), CLUSTER_CIDR)
      : await kubeProxyManyRules(context, kit);
    return { values: await compare(context, rules), note };
  },
};

/** µs of every contender and mode, run by run. */
async function compare(context: Context, rules: string): Promise<Found["values"]> {
  const { sliceMs: ms, signal } = context;
  return await Stage.with(signal, async (stage) => {
    const run = (mode: "connect" | "rr", netns: string, target: Target) => async () =>
      microseconds(await load(mode, pinnedAt(netns), target, { ms, signal }));
    const contenders: Record<string, () => Promise<number>> = {};
    for (const [name, install] of Object.entries(INSTALL)) {
      context.progress(`${name}: ${MANY} services`);
      const testbed = await oneNode(stage, `${name.replace(" ", "-")}-`);
      const { client, server } = testbed;
      if (server.addr !== SERVER) throw new Error(`the server has ${server.addr}, not ${SERVER}`);
      install(stage, testbed, context, rules);
      for (const mode of ["connect", "rr"] as const) {
        contenders[`${mode} ${name}`] = run(mode, client.netns, TARGETS[mode]);
      }
      // The server's process without a network before it: what no path between two pods can be below.
      contenders["rr loopback"] ??= run("rr", server.netns, { addr: "127.0.0.1", port: API_PORT });
    }
    return await interleave(context, contenders);
  });
}
