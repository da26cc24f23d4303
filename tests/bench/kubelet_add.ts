/**
 * What a pod's network costs a real kubelet: the whole chain's ADD one pod at a time, and fifty pods at once with pcnk and
 * without it, in turns. Needs the Kubernetes kit; without it there is no figure, and the reason is reported.
 */
import { whyNot } from "../cluster/support/kit.ts";
import { KubeletNode, type Span } from "./kubelet_node.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import type { Found } from "./result.ts";
import { quantile } from "./stats.ts";

/** Pods that are started one at a time in each round, and at once. */
const SINGLY = 5, AT_ONCE = 50;

/** After so many rounds the pods of `singly` go: that takes kubelet a while, and some dozens do not bother it. */
const ROUNDS_TOGETHER = 5;

const MS = 1e6;
const duration = ({ start, end }: Span) => (end - start) / MS;

/** From the first plugin's start to the last one's end, ms. */
function wall(spans: readonly Span[]): number {
  const start = Math.min(...spans.map((span) => span.start));
  return (Math.max(...spans.map(({ end }) => end)) - start) / MS;
}

/** kubelet's ADD. */
export const kubelet: Measure = {
  name: "kubelet",
  about:
    "CNI ADD as a real kubelet asks for it, one by one and fifty at once (needs the Kubernetes kit)",
  async run(context) {
    const reason = whyNot();
    if (reason !== undefined) {
      context.progress(`skipped: ${reason}\n`);
      return { values: {} };
    }
    const node = await KubeletNode.create();
    try {
      const each = await singly(node, context);
      const burst = await atOnce(node, context);
      const note = `one pod at a time: ${each.length} pods; at once: ${AT_ONCE}`;
      return { values: { p99: [quantile(each, 0.99)], each, ...burst }, note };
    } finally {
      await node.close();
    }
  },
};

/** Times of single ADDs, ms. */
async function singly(node: KubeletNode, { runs, signal, progress }: Context): Promise<number[]> {
  await node.use(true);
  const values: number[] = [];
  for (let round = 0; round < runs; round++) {
    progress(`one at a time ${round + 1}/${runs}`);
    for (let i = 0; i < SINGLY; i++) {
      signal.throwIfAborted();
      values.push(duration(await node.addOne()));
    }
    if (round % ROUNDS_TOGETHER === ROUNDS_TOGETHER - 1) await node.clear();
  }
  await node.clear();
  return values;
}

async function atOnce(node: KubeletNode, context: Context): Promise<Found["values"]> {
  const burst: number[] = [];
  const measure = async (withPcnk: boolean) => {
    await node.use(withPcnk);
    const spans = await node.addMany(AT_ONCE);
    await node.clear();
    if (withPcnk) burst.push(...spans.map(duration));
    return wall(spans);
  };
  const rounds = Math.max(2, Math.round(context.runs / 10));
  const values = await interleave({ ...context, runs: rounds }, {
    "with pcnk": () => measure(true),
    without: () => measure(false),
  });
  return { ...values, burst };
}
