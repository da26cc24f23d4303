/** A kind of `pcnk get`: how its rows are read, and the columns of their table. */
import type { NodeReader } from "./node.ts";

/** Which rows are wanted. */
export interface Filter {
  namespace?: string;
  /** Names of rows; empty: all. */
  names: readonly string[];
  /** `namespace/name` of a Service. */
  service?: string;
  /** `namespace/name` of a pod, or its address. */
  pod?: string;
  /** Also what is over, such as sessions that have timed out. */
  all?: boolean;
}

/** A column of the table. */
export interface Column<R> {
  /** In capitals, as kubectl has them. */
  title: string;
  value(row: R): string;
  /** Only with `-o wide`. */
  wide?: true;
}

/** A row: what `-o json` shows, and what `-o name` calls it. */
export interface Row {
  name: string;
}

/** A kind of things. */
export interface Resource<R extends Row = Row> {
  /** Plural, as on the command line. */
  name: string;
  /** Other names on the command line. */
  aliases: readonly string[];
  /** One line. */
  help: string;
  columns: readonly Column<R>[];
  /** Rows in the order in which they are shown. */
  read(node: NodeReader, filter: Filter): R[];
}

/** Sorts by each of `keys` in turn: numbers by size, texts by their numbers within (pod2 before pod10). */
export function sortBy<R>(rows: R[], ...keys: ((row: R) => string | number)[]): R[] {
  return rows.sort((a, b) => {
    for (const key of keys) {
      const [one, other] = [key(a), key(b)];
      const order = typeof one === "number" && typeof other === "number"
        ? one - other
        : collator.compare(String(one), String(other));
      if (order !== 0) return order;
    }
    return 0;
  });
}

const collator = new Intl.Collator("en", { numeric: true });

/** Rows of the given names; all, when none is given. */
export function named<R extends Row>(rows: readonly R[], { names }: Filter): R[] {
  return rows.filter(({ name }) => names.length === 0 || names.includes(name));
}

/** A column of which a filter of `names` may be a part: `default/web`, `web` within a namespace. */
export function isNamed(filter: Filter, namespace: string, name: string): boolean {
  if (filter.namespace !== undefined && filter.namespace !== namespace) return false;
  return filter.names.length === 0 || filter.names.includes(name) ||
    filter.names.includes(`${namespace}/${name}`);
}
