import assert from "node:assert/strict";
import { formerObject } from "../../tests/support/former.ts";
import { readArtifact } from "./artifacts.ts";
import { checkLayout, parseBtf } from "./btf.ts";
import { CNI_CALLS, cniCall } from "./cni_calls.ts";
import type { Codec, StructCodec } from "./codec.ts";
import { FORMER_LAYOUTS } from "./former_layouts.ts";
import { hostlbMaps } from "./layout_hostlb.ts";
import { mapNames, maps } from "./layout.ts";
import { MONITOR_EVENTS, monitorEvent } from "./layout_monitor.ts";
import { type PinnedMap, SchemaError, SCHEMAS } from "./schema.ts";

const RECORDED = new URL("testdata/schemas.json", import.meta.url);
const names = Object.keys(SCHEMAS) as PinnedMap[];

/** A codec's layout in words: `{last_seen 0+8, src 8+4, …} 40`. */
function words({ name, size, fields }: Codec<unknown>): string {
  if (fields === undefined) return `${name} ${size}`;
  const members = fields.map((field) => `${field.name} ${field.offset}+${field.size}`);
  return `{${members.join(", ")}} ${size}`;
}

/** The layout of every pinned map today. */
function layouts(): Record<string, string> {
  const entries = Object.values({ ...maps, ...hostlbMaps }).map(({ name, key, value }) =>
    [name, `${words(key)} → ${words(value)}`] as const
  );
  return {
    ...Object.fromEntries(entries),
    [CNI_CALLS]: words(cniCall),
    [MONITOR_EVENTS]: words(monitorEvent),
  };
}

Deno.test("every pinned map has a schema", () => {
  assert.deepEqual(names.toSorted(), [...mapNames, ...Object.keys(hostlbMaps)].sort());
});

Deno.test("a map's layout changes only together with its version", () => {
  const recorded: Record<string, Record<number, string>> = JSON.parse(
    Deno.readTextFileSync(RECORDED),
  );
  const today = layouts();
  for (const name of names) {
    const { version } = SCHEMAS[name];
    assert.equal(
      today[name],
      recorded[name]?.[version],
      `${name} is not what schema ${version} says: docs/upgrade.md, "To change a struct"`,
    );
  }
});

Deno.test("every former version of a converted map is read", () => {
  for (const name of names) {
    const { version, change } = SCHEMAS[name];
    const former = Array.from({ length: version - 1 }, (_, i) => i + 1);
    const read = Object.keys(FORMER_LAYOUTS[name] ?? {}).map(Number);
    assert.deepEqual(read, change === "converted" ? former : [], name);
  }
});

Deno.test("release 0.1.0's sessions are what its object and today's transitional one say", () => {
  const value = FORMER_LAYOUTS.sessions![1]!.value as StructCodec<unknown>;
  checkLayout(parseBtf(readArtifact("lbrp_converting.bpf.o")), [value]);
  checkLayout(parseBtf(formerObject("lbrp.bpf.o")), [{ ...value, name: "session" }]);
});

Deno.test("a session of release 0.1.0 keeps all that it has, and its age is not known", () => {
  const { key, value, convert } = FORMER_LAYOUTS.sessions![1]!;
  const flow = { src: "10.1.0.2", dst: "10.96.0.1", sport: 4000, dport: 80, proto: 6, zone: 0 };
  const session = {
    ...{ last_seen: 7n, src: "10.1.0.2", dst: "10.1.0.3", sport: 4000, dport: 8080 },
    ...{ service_id: 9, state: 1, flags: 4, ifindex: 3 },
  };
  const view = new DataView(new ArrayBuffer(value.size));
  value.encode(session, view, 0);
  assert.deepEqual(convert(flow, value.decode(view, 0)), [flow, { ...session, created: 0n }]);
  assert.equal(key.size, maps.sessions.key.size);
});

Deno.test("SchemaError says what to do, by which side is newer", () => {
  assert.match(
    new SchemaError("/x/map/sessions", 3, 2).message,
    /made by a newer pcnk.*run the newer pcnk again/,
  );
  assert.match(
    new SchemaError("/x/map/sessions", 1, 2).message,
    /made by an older pcnk.*start its agent/,
  );
});
