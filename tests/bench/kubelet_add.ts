/**
 * What a pod's network costs a real kubelet: the whole chain's ADD one pod at a time, and fifty pods at once with pcnk and
 * without it, in turns. Needs the Kubernetes kit; without it there is no figure and the reason is told.
 */
import { whyNot } from "../cluster/support/kit.ts";
import { KubeletNode, type Span } from "./kubelet_node.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import { absoluteResult, ratioResult, type Result } from "./result.ts";
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
      return [];
    }
    const node = await KubeletNode.create();
    try {
      return [...await singly(node, context), ...await atOnce(node, context)];
    } finally {
      await node.close();
    }
  },
};

async function singly(node: KubeletNode, { runs, signal, progress }: Context): Promise<Result[]> {
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
  const head = { measure: "kubelet", bar: { op: "<=", value: 150 } as const };
  return [
    absoluteResult(
      {
        ...head,
        id: "kubelet-add-p99",
        title: `kubelet's ADD, one pod at a time: p99 of ${values.length}`,
      },
      "ms",
      [quantile(values, 0.99)],
    ),
    absoluteResult(
      { measure: "kubelet", id: "kubelet-add", title: "the same, each" },
      "ms",
      values,
    ),
  ];
}

async function atOnce(node: KubeletNode, context: Context): Promise<Result[]> {
  const each: number[] = [];
  const measure = async (withPcnk: boolean) => {
    await node.use(withPcnk);
    const spans = await node.addMany(AT_ONCE);
    await node.clear();
    if (withPcnk) each.push(...spans.map(duration));
    return wall(spans);
  };
  const rounds = Math.max(2, Math.round(context.runs / 10));
  const values = await interleave({ ...context, runs: rounds }, {
    with: () => measure(true),
    without: () => measure(false),
  });
  const side = (label: string, values: number[]) => ({ label, unit: "ms" as const, values });
  return [
    ratioResult(
      {
        measure: "kubelet",
        id: "kubelet-add-burst",
        title: `${AT_ONCE} pods at once: wall time of all ADDs, with pcnk ÷ without`,
        bar: { op: "<=", value: 3.5 },
      },
      side("with pcnk", values.with),
      side("without", values.without),
    ),
    absoluteResult(
      { measure: "kubelet", id: "kubelet-add-burst-each", title: "the same with pcnk, each ADD" },
      "ms",
      each,
    ),
  ];
}
