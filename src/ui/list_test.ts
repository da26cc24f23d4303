import { deepEqual, equal, throws } from "node:assert/strict";
import { BadQuery, listQuery, partOf } from "./list.ts";

const rows = Array.from({ length: 10_000 }, (_, i) => ({ name: `ns/web-${i}`, sessions: i % 7 }));
const keys = ["name", "sessions"];

function part(query: string) {
  const found = partOf(rows, listQuery(new URLSearchParams(query), keys), ({ name }) => name);
  return { ...found, rows: found.rows.map(({ name }) => name) };
}

Deno.test("partOf() gives a page of ten thousand rows, by numbers within names", () => {
  deepEqual(part("limit=3&sort=-name"), {
    total: 10_000,
    all: 10_000,
    offset: 0,
    rows: ["ns/web-9999", "ns/web-9998", "ns/web-9997"],
  });
});

Deno.test("partOf() finds rows that have all words, in any case of letters", () => {
  deepEqual(part("q=WEB-99+ns%2F&limit=2&offset=2").rows, ["ns/web-991", "ns/web-992"]);
  equal(part("q=web-99").total, 111);
  deepEqual(part("q=none+such"), { total: 0, all: 10_000, offset: 0, rows: [] });
});

Deno.test("partOf() shows the last page to who asks for one behind it", () => {
  const { offset, rows } = part("offset=99999&limit=50");
  deepEqual([offset, rows.length, rows.at(-1)], [9950, 50, "ns/web-9999"]);
});

Deno.test("partOf() sorts by number, and keeps the order of equals", () => {
  deepEqual(part("sort=-sessions&limit=2").rows, ["ns/web-6", "ns/web-13"]);
});

Deno.test("listQuery() refuses what makes no sense", () => {
  for (
    const query of [
      ...["limit=201", "limit=-1", "offset=x", "offset=1e3", "sort=password", "sort=--name"],
      `q=${"x".repeat(201)}`,
    ]
  ) throws(() => part(query), BadQuery, query);
});
