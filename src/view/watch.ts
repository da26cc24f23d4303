/** Changes between two reads of the same rows. */
import type { Row } from "./resource.ts";

/** A row that came, changed or went. */
interface RowEvent {
  type: "added" | "changed" | "removed";
  row: Row;
}

/** Compares with the previous rows; the first call adds all. A changed `idleSeconds` is no change. */
export class RowWatch {
  #before = new Map<string, { text: string; row: Row }>();

  update(rows: readonly Row[]): RowEvent[] {
    const events: RowEvent[] = [];
    const now = new Map<string, { text: string; row: Row }>();
    for (const row of rows) {
      const { idleSeconds: _, ...rest } = row as Row & { idleSeconds?: number };
      const text = JSON.stringify(rest);
      // Rows of one name, such as a Service's ports, differ in their content.
      const key = now.has(row.name) ? `${row.name} ${text}` : row.name;
      now.set(key, { text, row });
      const old = this.#before.get(key);
      if (old === undefined) events.push({ type: "added", row });
      else if (old.text !== text) events.push({ type: "changed", row });
    }
    for (const [key, { row }] of this.#before) {
      if (!now.has(key)) events.push({ type: "removed", row });
    }
    this.#before = now;
    return events;
  }
}
