import assert from "node:assert/strict";
import { mapNames, maps, structs } from "./layout.ts";

Deno.test("layout.ts has a map descriptor for each map of maps.h", () => {
  const header = Deno.readTextFileSync(new URL("../../bpf/lib/maps.h", import.meta.url));
  const names = [...header.matchAll(/^\} (\w+) SEC\("\.maps"\)/gm)].map((match) => match[1]);
  assert.deepEqual(mapNames.toSorted(), names.sort());
  for (const [name, descriptor] of Object.entries(maps)) assert.equal(descriptor.name, name);
});

Deno.test("layout.ts has a codec for each struct of types.h", () => {
  const header = Deno.readTextFileSync(new URL("../../bpf/lib/types.h", import.meta.url));
  const names = [...header.matchAll(/^struct (\w+) \{/gm)].map((match) => match[1]);
  assert.deepEqual(structs.map(({ name }) => name).sort(), names.sort());
});
