/** A part of a long list: filtered, sorted and cut where the list is, so that a browser never gets ten thousand rows. */
import type { Part } from "./types.ts";

/** What a page may ask for at once. */
const MOST_ROWS = 200;

/** A query that says nothing that can be answered. The message is one line. */
export class BadQuery extends Error {
  override readonly name = "BadQuery";
}

/** How a list is asked for. */
interface ListQuery {
  /** Words that must all be somewhere in a row's text, whatever the case. */
  words: string[];
  /** A key of the row; undefined: as it comes. */
  sort: string | undefined;
  descending: boolean;
  offset: number;
  limit: number;
}

/** @throws {BadQuery} */
export function listQuery(params: URLSearchParams, keys: readonly string[]): ListQuery {
  const number = (name: string, fallback: number, most: number) => {
    const text = params.get(name) ?? String(fallback);
    const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
    if (!(value <= most)) throw new BadQuery(`${name} must be a whole number from 0 to ${most}`);
    return value;
  };
  const given = params.get("sort") ?? "";
  const sort = given.replace(/^-/, "");
  if (sort !== "" && !keys.includes(sort)) {
    throw new BadQuery(`sort must be one of ${keys.join(", ")}`);
  }
  const text = params.get("q") ?? "";
  if (text.length > 200) throw new BadQuery("q must be at most 200 characters");
  return {
    words: text.toLowerCase().split(/\s+/).filter((word) => word !== ""),
    sort: sort === "" ? undefined : sort,
    descending: given.startsWith("-"),
    offset: number("offset", 0, 1e9),
    limit: number("limit", 50, MOST_ROWS),
  };
}

const collator = new Intl.Collator("en", { numeric: true });

/** The part of `rows` that was asked for. `textOf` is what a person sees of a row. */
export function partOf<R extends object>(
  rows: readonly R[],
  { words, sort, descending, offset, limit }: ListQuery,
  textOf: (row: R) => string,
): Part<R> {
  const found = words.length === 0 ? [...rows] : rows.filter((row) => {
    const text = textOf(row).toLowerCase();
    return words.every((word) => text.includes(word));
  });
  if (sort !== undefined) {
    const key = sort as keyof R;
    const sign = descending ? -1 : 1;
    const order = (a: unknown, b: unknown) =>
      typeof a === "number" && typeof b === "number"
        ? a - b
        : collator.compare(String(a ?? ""), String(b ?? ""));
    found.sort((a, b) => sign * order(a[key], b[key]));
  }
  // Past the end, as when rows went meanwhile: the last part.
  const last = Math.max(0, Math.floor((found.length - 1) / Math.max(limit, 1)) * limit);
  const first = Math.min(offset, last);
  return {
    total: found.length,
    all: rows.length,
    offset: first,
    rows: found.slice(first, first + limit),
  };
}
