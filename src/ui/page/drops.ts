/// <reference lib="dom" />
/** What became of packets, by reason: drops first. */
import type { CounterRate, Counters } from "../types.ts";
import { ask } from "./ask.ts";
import { button, count, el, rate } from "./dom.ts";
import { type Column, table } from "./table.ts";
import type { MakeView } from "./view.ts";

/** Refused is answered, not dropped, but a client does not get what it wants either. */
export const isRefusal = ({ name }: Pick<CounterRate, "name">) => name.startsWith("rejected_");

const COLUMNS: readonly Column<CounterRate>[] = [
  {
    title: "Reason",
    wrap: true,
    cell: ({ name, meaning }) =>
      el("div", {}, el("span", { class: "mono" }, name), el("div", { class: "next" }, meaning)),
  },
  { title: "Now", number: true, cell: ({ perSecond }) => rate(perSecond) },
  { title: "Packets", number: true, cell: ({ packets }) => count(packets) },
];

/** The busiest first. */
const byRate = (a: CounterRate, b: CounterRate) =>
  (b.perSecond ?? 0) - (a.perSecond ?? 0) || b.packets - a.packets;

export const dropsView: MakeView = ({ root, go }) => {
  const content = el("div");
  root.replaceChildren(
    el("div", { class: "bar" }, button("See them as they happen", () => go("events"))),
    content,
    el(
      "p",
      { class: "soft" },
      "Counted by the kernel since the data plane was installed, whether or not an agent runs.",
    ),
  );
  return {
    async refresh(signal) {
      const { counters } = await ask<Counters>("counters", {}, signal);
      const part = (title: string, wanted: (row: CounterRate) => boolean, nothing: string) => [
        el("h2", {}, title),
        table(title, counters.filter(wanted).sort(byRate), COLUMNS, nothing),
      ];
      content.replaceChildren(
        ...part("Dropped", ({ kind }) => kind === "drop", "Nothing has been dropped."),
        ...part("Refused", isRefusal, "No connection has been refused."),
        ...part("Delivered", (row) => row.kind === "handled" && !isRefusal(row), "Nothing yet."),
        ...part("Left to the kernel's own stack", ({ kind }) => kind === "pass", "Nothing yet."),
        ...part("Besides", ({ kind }) => kind === "event", "Nothing yet."),
      );
    },
  };
};
