import assert from "node:assert/strict";
import { FORMER_LAYOUTS } from "./former_layouts.ts";
import { hostlbMaps, maps, queues } from "./layout.ts";
import { type PinnedMap, SchemaError, SCHEMAS } from "./schema.ts";

const RECORDED = new URL("testdata/schemas.json", import.meta.url);
const names = Object.keys(SCHEMAS) as PinnedMap[];

const today = Object.fromEntries(
  Object.values({ ...maps, ...hostlbMaps, ...queues }).map((map) => [map.name, map.fingerprint]),
);

Deno.test("every pinned map has a schema", () => {
  assert.deepEqual(names.toSorted(), Object.keys(today).sort());
});

Deno.test("a map's layout changes only together with its version", () => {
  const recorded: Record<string, Record<number, string>> = JSON.parse(
    Deno.readTextFileSync(RECORDED),
  );
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

Deno.test("a session of release 0.1.0 keeps all that it has, and its age is not known", () => {
  const { key, value, convert } = FORMER_LAYOUTS.sessions![1]!;
  const flow = { src: "10.1.0.2", dst: "10.96.0.1", sport: 4000, dport: 80, proto: 6, zone: 0 };
  const session = {
    ...{ last_seen: 7n, src: "10.1.0.2", dst: "10.1.0.3", sport: 4000, dport: 8080 },
    ...{ service_id: 9, state: 1, flags: 4, ifindex: 3 },
  };
  const view = new DataView(new ArrayBuffer(value.size));
  value.encode(session, view, 0);
  const unknown = { created: 0n, tcp: 0, seq_end: 0, seq_run: 0, ack: 0, asked: 0 };
  assert.deepEqual(convert(flow, value.decode(view, 0)), [flow, { ...session, ...unknown }]);
  assert.equal(key.size, maps.sessions.key.size);
});

Deno.test("transitional programs know which version today's sessions are of", () => {
  const header = Deno.readTextFileSync(new URL("../../bpf/lib/session_former.h", import.meta.url));
  const [, version] = /^#define SESSION_VERSION (\d+)/m.exec(header) ?? [];
  assert.equal(Number(version), SCHEMAS.sessions.version);
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
