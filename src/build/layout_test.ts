import assert from "node:assert/strict";
import { CLANG, compile } from "../../tests/support/clang.ts";
import { formerObject } from "../../tests/support/former.ts";
import * as needs from "../../tests/support/needs.ts";
import { parseBtf } from "./btf.ts";
import { checkLayouts, enumsSource, fingerprint, layoutSource, type Source } from "./layout.ts";
import { artifacts } from "./objects.ts";
import { root } from "./steps.ts";

const HEADER = `
/* What a flow
 * may be. */
enum color : __u8 { /* Of a flow. */
	COLOR_RED = 1 << 0, /* warm */
	COLOR_BLUE = 1 << 1,
};

enum event {
	EVENT_MADE, /* flows made */
	EVENT_LOST, /* flows "lost" */
	EVENT_COUNT,
};

/* A flow. */
struct flow {
	addr_t addr;
	port_be port;
	enum color color;
	__u8 reserved;
	ns_t seen; /* the last
		    * packet */
};

#define FLOW_VERSION 2 /* of struct flow */

/* By number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");
`;

/** What becomes of HEADER after `from` was replaced in it. */
function source(from = "", to = ""): Source {
  const headers = HEADER.replace(from, to);
  assert.ok(from === "" || headers !== HEADER, `HEADER has no ${from}`);
  const c = `#include "types.h"\n#include <bpf/bpf_helpers.h>\n${headers}\nenum event event;\n`;
  return { types: parseBtf(compile(c)), headers };
}

const ignore = !needs.file(CLANG);

Deno.test({
  name: "src/abi/enums.ts and src/bpf/layout.ts are what bpf/lib gives",
  ignore,
  fn: () => checkLayouts(),
});

Deno.test({ name: "typedefs become codecs, comments docstrings", ignore }, () => {
  const text = layoutSource(source());
  const struct = [
    "/** A flow. */",
    'export const flow = struct("flow", {',
    "addr: ipv4,",
    "port,",
    "/** COLOR */",
    "color: u8,",
    "reserved: pad(u8),",
    "/** the last packet */",
    "seen: ns,",
    "});",
  ].join("\n");
  assert.ok(text.includes(struct), text);
  assert.match(text, /\/\*\* By number. \*\/\nflows: map\("flows", MAP_TYPE.ARRAY, u32, flow, "/);
  assert.match(text, /import \{ ipv4, map, ns, pad, port, struct, u32, u8, type ValueOf \}/);
});

Deno.test({ name: "enums become objects, those with a _COUNT lists", ignore }, () => {
  const text = enumsSource(source());
  assert.ok(
    text.includes(
      "/** `enum color`. What a flow may be. Of a flow. */\n" +
        "export const COLOR = {\n/** warm */\nRED: 1,\nBLUE: 2,\n} as const;",
    ),
    text,
  );
  assert.match(text, /export const EVENTS = \[\n\{ name: "event_made", help: "flows made" \},/);
  assert.match(text, /\{ name: "event_lost", help: "flows \\"lost\\"" \},\n\] as const;/);
});

Deno.test({ name: "what cannot be expressed is refused by name", ignore }, () => {
  const cases: [from: string, to: string, RegExp][] = [
    ["port_be port;", "__be32 port;", /no codec for the type __be32 of 4 bytes/],
    ["\t__u8 reserved;\n", "", /struct flow: fill the gap before seen/],
    ["ns_t seen;", "ns_t seen; __u8 more;", /struct flow: fill the gap at its end/],
  ];
  for (const [from, to, message] of cases) {
    assert.throws(() => layoutSource(source(from, to)), message);
  }
  const unused = source();
  assert.throws(
    () => layoutSource({ ...unused, headers: `${unused.headers}\nstruct lost {\n};\n` }),
    /refer to lost/,
  );
  assert.throws(() => enumsSource(source(" /* flows made */", "")), /EVENT_MADE has no comment/);
});

Deno.test({ name: "fingerprint() tells names, types and places apart", ignore }, () => {
  const prints = [
    source(),
    source("addr_t addr;", "addr_t address;"),
    source("port_be port;", "__u16 port;"),
    source("\tport_be port;\n\tenum color color;", "\tenum color color;\n\t__u8 port;"),
    source("__type(key, __u32)", "__type(key, __u64)"),
  ].map(({ types }) => fingerprint(types, "flows"));
  assert.equal(new Set(prints).size, prints.length);
  assert.match(prints[0]!, /^[0-9a-f]{8}$/);
  assert.equal(fingerprint(source("COLOR_BLUE", "COLOR_GREEN").types, "flows"), prints[0]);
});

Deno.test({ name: "struct session_v1 is what release 0.1.0 has", ignore }, () => {
  const places = (object: Uint8Array<ArrayBuffer>, struct: string) =>
    parseBtf(object).structs.get(struct)!.fields
      .map(({ name, offset, type }) => [name, offset, type.size]);
  const today = new Uint8Array(Deno.readFileSync(`${root}/${artifacts}/layout.o`));
  assert.deepEqual(places(today, "session_v1"), places(formerObject("lbrp.bpf.o"), "session"));
});

Deno.test("parseBtf() refuses what is no object", () => {
  assert.throws(() => parseBtf(new Uint8Array(10)), /not a 64-bit ELF file/);
  assert.throws(() => parseBtf(new Uint8Array(100)), /not a 64-bit ELF file/);
});
