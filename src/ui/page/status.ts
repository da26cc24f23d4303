/// <reference lib="dom" />
/** The health of this node: every part, with a next step for each problem. */
import type { Status } from "../types.ts";
import { ask } from "./ask.ts";
import { el } from "./dom.ts";
import { type Column, table } from "./table.ts";
import type { MakeView } from "./view.ts";

type Finding = Status["findings"][number];

const COLUMNS: readonly Column<Finding>[] = [
  { title: "Part", cell: ({ part }) => part },
  { title: "", cell: ({ health }) => el("span", { class: `badge ${health}` }, health) },
  {
    title: "What was found",
    wrap: true,
    cell: ({ text, next }) =>
      el("div", {}, text, next !== undefined && el("div", { class: "next" }, `→ ${next}`)),
  },
];

export const statusView: MakeView = ({ root }) => ({
  async refresh(signal) {
    const { findings } = await ask<Status>("status", {}, signal);
    root.replaceChildren(table("Status", findings, COLUMNS, ""));
  },
});
