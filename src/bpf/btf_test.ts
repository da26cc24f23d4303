import assert from "node:assert/strict";
import { type BtfStruct, checkLayout, LayoutError, parseBtf } from "./btf.ts";
import { struct, u16, u32 } from "./codec.ts";

const codec = struct("thing", { a: u32, b: u16, c: u16 });
const found = (change: (fields: BtfStruct["fields"][number][]) => void, size = 8) => {
  const fields = codec.fields.map((field) => ({ ...field }));
  change(fields);
  return new Map([["thing", { name: "thing", size, fields }]]);
};

function problem(structs: Map<string, BtfStruct>): string {
  try {
    checkLayout(structs, [codec]);
  } catch (error) {
    assert.ok(error instanceof LayoutError);
    return error.message;
  }
  return "";
}

Deno.test("checkLayout() accepts equal structs and passes over absent ones", () => {
  assert.equal(problem(found(() => {})), "");
  assert.equal(problem(new Map()), "");
});

Deno.test("checkLayout() names struct, field, expected and found place", () => {
  const moved = problem(found((fields) => fields.splice(1, 1, { name: "b", offset: 6, size: 2 })));
  assert.match(
    moved,
    /struct thing: field b expected at offset 4, size 2, found at offset 6, size 2/,
  );
  assert.match(
    problem(found((fields) => fields.pop())),
    /field c is missing; expected at offset 6/,
  );
  const more = found((fields) => fields.push({ name: "d", offset: 8, size: 4 }), 12);
  assert.match(problem(more), /field d at offset 8 is not expected/);
  assert.match(problem(more), /struct thing: expected size 8, found 12/);
});

Deno.test("parseBtf() refuses what is no object", () => {
  assert.throws(() => parseBtf(new Uint8Array(10)), LayoutError);
  assert.throws(() => parseBtf(new Uint8Array(100)), /not a 64-bit ELF file/);
});
