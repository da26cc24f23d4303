import assert from "node:assert/strict";
import { parseConfig } from "../src/config/load.ts";
import { configText } from "./config_file.ts";

const given = (entries: Record<string, string>) => new Map(Object.entries(entries));

Deno.test("configText() of a new file has a head and the settings, nested", () => {
  assert.equal(
    configText(undefined, given({ routing: "direct", "overlay.port": "8472" })),
    "# Settings of pcnk's agent; `pcnk agent --help` lists them all. `pcnk install --set KEY=VALUE` changes one.\n\n" +
      "routing: direct\noverlay:\n  port: 8472\n",
  );
});

Deno.test("configText() changes what is given; an operator's lines, comments and order stay", () => {
  const present =
    "# mine\nrouting: overlay # for now\n\noverlay:\n  # below 1450\n  port: 4789\nmtu: 1400\n";
  const text = configText(present, given({ routing: "direct", "overlay.vni": "7" }));
  assert.equal(
    text,
    "# mine\nrouting: direct # for now\n\noverlay:\n  # below 1450\n  port: 4789\n  vni: 7\nmtu: 1400\n",
  );
  assert.equal(configText(text, given({ routing: "direct" })), text, "the second time");
});

Deno.test("configText() of nothing that is given is the file as it is, also an empty one", () => {
  const present = "mtu:   1400   # odd, but mine\n";
  assert.equal(configText(present, given({})), present);
  for (const empty of ["", "\n", "# nothing yet\n"]) {
    const text = configText(empty, given({ mtu: "1400" }));
    assert.deepEqual([...parseConfig(text, "x")], [["mtu", 1400]], JSON.stringify(empty));
  }
  assert.deepEqual([...parseConfig(configText(undefined, given({})), "x")], []);
});

for (
  const [text, says] of [
    ["- a\n", /: it is no mapping of settings$/],
    ["mtu: [1\n", /the file cannot be read: Flow /],
    ["overlay: 7\n", /overlay/],
  ] as const
) {
  Deno.test(`configText() refuses to write into ${JSON.stringify(text)}`, () => {
    assert.throws(() => configText(text, given({ "overlay.port": "8472" })), says);
  });
}
