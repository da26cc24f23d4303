/** The table of docs/reasons.md, out of the list that commands and metrics use. */
import { type ReasonKind, reasons } from "../../src/bpf/reasons.ts";

const TITLES: [kind: ReasonKind, title: string][] = [
  ["pass", "Passed on untouched"],
  ["handled", "Handled"],
  ["drop", "Dropped"],
  ["event", "Events, counted besides"],
];

/** Markdown: a table for each kind. */
export function reasonTables(): string {
  return TITLES.map(([kind, title]) => {
    const rows = reasons.filter((one) => one.kind === kind)
      .map(({ name, help }) => `| \`${name}\` | ${help} |`);
    return `## ${title}\n\n| reason | |\n|---|---|\n${rows.join("\n")}\n`;
  }).join("\n");
}
