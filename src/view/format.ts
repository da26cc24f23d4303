/** Rows as text: kubectl's formats. */
import { stringify } from "yaml";
import type { Column, Resource, Row } from "./resource.ts";
import { columns, type Paint } from "./terminal.ts";

/** As `-o` has them. */
export const FORMATS = ["table", "wide", "json", "yaml", "name"] as const;
export type Format = typeof FORMATS[number];

/** All rows in a format, ending in a newline; nothing for a table of no rows. */
export function formatRows(
  resource: Resource,
  rows: readonly Row[],
  format: Format,
  paint: Paint,
): string {
  switch (format) {
    case "json":
      return JSON.stringify({ items: rows }, null, 2) + "\n";
    case "yaml":
      return stringify({ items: rows });
    case "name":
      // As kubectl: objects. A Service has a row for each of its ports, and one name.
      return [...new Set(rows.map(({ name }) => `${resource.name}/${name}\n`))].join("");
    default:
      return rows.length === 0
        ? ""
        : table(resource, rows, format === "wide", paint).join("\n") + "\n";
  }
}

/** Lines of a table, its heading first. */
function table(resource: Resource, rows: readonly Row[], wide: boolean, paint: Paint): string[] {
  const shown = columnsOf(resource, wide);
  return columns([
    shown.map(({ title }) => paint("bold", title)),
    ...rows.map((row) => cells(row, shown)),
  ]);
}

/** The columns of a table. */
export function columnsOf(resource: Resource, wide: boolean): readonly Column<Row>[] {
  return resource.columns.filter((column) => wide || !column.wide);
}

/** A row's cells; an empty one is a dash, so that columns can be cut out by blanks. */
export function cells(row: Row, shown: readonly Column<Row>[]): string[] {
  return shown.map((column) => column.value(row) || "-");
}
