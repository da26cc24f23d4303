/** Comparisons on two nodes: who connects to what, carried by whom, in turns. */
import { type Figures, measure as load, type Mode } from "./load.ts";
import { type Context, interleave } from "./measure.ts";
import { type Bar, ratioResult, type Result, type Series, type Unit } from "./result.ts";
import { Stage } from "./stage.ts";
import { type Carrier, type From, type To, type TwoNodes, upTwoNodes } from "./two_nodes.ts";
import type { RoutingMode } from "../../src/lab/plan.ts";

/** One side of a comparison. */
export interface Side {
  label: string;
  by: Carrier;
  from: From;
  to: To;
}

/** Values by the sides' names. */
export type Values<K extends string> = Record<K, number[]>;

/** Runs `work` on two nodes that are gone afterwards. */
export function onTwoNodes<T>(
  context: Context,
  routing: RoutingMode,
  sides: Record<string, Side>,
  work: (nodes: TwoNodes) => Promise<T>,
): Promise<T> {
  const carriers = Object.values(sides).map(({ by }) => by);
  return Stage.with(context.signal, async (stage) => {
    context.progress("nodes");
    return await work(await upTwoNodes(stage, context, routing, carriers));
  });
}

/** Takes each side's figure, round by round. */
export async function compare<K extends string>(
  context: Context,
  nodes: TwoNodes,
  sides: Record<K, Side>,
  mode: Mode,
  figure: (figures: Figures) => number,
): Promise<Values<K>> {
  await nodes.serve("serve");
  const { sliceMs: ms, signal } = context;
  return await rounds(
    context,
    nodes,
    sides,
    async ({ from, to }) =>
      figure(await load(mode, nodes.place(from), nodes.target(to), { ms, signal })),
  );
}

/** The same with any way to measure. */
export function rounds<K extends string>(
  context: Context,
  nodes: TwoNodes,
  sides: Record<K, Side>,
  measure: (side: Side) => Promise<number>,
): Promise<Values<K>> {
  const run = async (side: Side) => {
    nodes.carry(side.by);
    const before = nodes.counted();
    const value = await measure(side);
    if (!(value > 0)) throw new Error(`${side.label}: nothing came through`);
    checkCarrier(side, nodes.counted() - before);
    return value;
  };
  const entries = Object.entries<Side>(sides).map(([name, side]) => [name, () => run(side)]);
  return interleave(context, Object.fromEntries(entries) as Record<K, () => Promise<number>>);
}

/** @throws {Error} when something else was measured than what the side says */
function checkCarrier({ label, by }: Side, packets: bigint): void {
  const pcnk = by === "pcnk" || by === "pcnk-full";
  if (pcnk && packets === 0n) throw new Error(`${label}: no packet went through pcnk`);
  if (!pcnk && packets > 0n) throw new Error(`${label}: ${packets} packets met pcnk`);
}

/** A row: which side ÷ which, and what it is held to. */
export interface Row<K extends string> {
  id: string;
  title: string;
  pair: readonly [K, K];
  bar?: Bar;
}

/** The rows' results from the sides' values. */
export function ratios<K extends string>(
  head: { measure: string; unit: Unit; note?: string },
  rows: readonly Row<K>[],
  sides: Record<K, Side>,
  values: Values<K>,
): Result[] {
  const { unit, ...rest } = head;
  const series = (name: K): Series => ({ label: sides[name].label, unit, values: values[name] });
  return rows.map(({ pair: [a, b], ...row }) =>
    ratioResult({ ...rest, ...row }, series(a), series(b))
  );
}

export function atMost(value: number): Bar {
  return { op: "<=", value };
}

export function atLeast(value: number): Bar {
  return { op: ">=", value };
}

/** Median of a run's times in µs. */
export const microseconds = ({ p50 }: Figures) => p50 / 1000;
/** Operations a second. */
export const perSecond = ({ rate }: Figures) => rate;
