/**
 * The first packet of a flow, which has to find its service: connect() at ten services and at ten thousand, ten backends
 * each. Once to ten services on either node, so that nothing but the number of services differs; and once to each of the
 * ten thousand in turn, which do not fit into the processor's nearest caches (and neither does what the client's own
 * kernel keeps of ten thousand destinations).
 */
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { Switch } from "../../src/measure/variants.ts";
import { clusterIP } from "./cluster.ts";
import { measure as load, microseconds, pinnedAt } from "./load.ts";
import { interleave, type Measure } from "./measure.ts";
import { installPcnk, oneNode, PORT } from "./one_node.ts";
import { Stage } from "./stage.ts";

/** Connections that are timed: through a node with so many services, to `visited` of them in turns. */
const CONTENDERS = {
  "10 services": { services: 10, visited: 10 },
  "10,000 services": { services: 10_000, visited: 10 },
  "10,000 services, each in turn": { services: 10_000, visited: 10_000 },
};

/** More addresses of the server's pod, so that every backend of every service answers. */
const BACKENDS = Array.from({ length: 10 }, (_, i) => `10.244.1.${200 + i}`);

/** Ten thousand services against ten. */
export const firstPacket: Measure = {
  name: "first-packet",
  about: "connect() at 10,000 services against 10",
  async run(context) {
    const { sliceMs: ms, signal } = context;
    const values = await Stage.with(signal, async (stage) => {
      const testbed = await oneNode(stage);
      {
        using nl = RtNetlink.open(testbed.server.netns);
        const ifindex = nl.link("eth0")!.index;
        for (const address of BACKENDS) nl.addAddr({ ifindex, address, prefixLength: 24 });
      }
      const backends = BACKENDS.map((addr) => ({ addr, port: PORT }));
      const [few, many] = [10, 10_000].map((count) => {
        const addresses = Array.from({ length: count }, (_, i) => clusterIP(i));
        const services = addresses.map((addr) => ({ addr, port: PORT, backends }));
        const options = { name: `bpf-${count}`, more: BACKENDS };
        return installPcnk(stage, testbed, context.attach, services, options);
      });
      const toggle = new Switch();
      stage.defer(() => toggle.to(undefined));
      const contenders = Object.entries(CONTENDERS).map(([label, { services, visited }]) =>
        [label, async () => {
          toggle.to(services === 10 ? few : many);
          const step = services / visited;
          const target = { addr: clusterIP(0), port: PORT, addresses: visited, step };
          const client = pinnedAt(testbed.client.netns);
          return microseconds(await load("connect", client, target, { ms, signal }));
        }] as const
      );
      return await interleave(context, Object.fromEntries(contenders));
    });
    return { values };
  },
};
