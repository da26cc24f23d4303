import assert from "node:assert/strict";
import { ConfigError, loadConfig, parseConfig } from "./load.ts";
import { settings } from "./schema.ts";
import { flagName } from "./setting.ts";

const parse = (text: string) => Object.fromEntries(parseConfig(text, "c.yaml"));

Deno.test("parseConfig() reads nested keys, times and numbers", () => {
  const text = "uplink: eth1\nmapSizes:\n  services: 1000\ntimeouts:\n  udp: 1h30m\n  icmp: 5\n";
  assert.deepEqual(parse(text), {
    uplink: ["eth1"],
    "mapSizes.services": 1000,
    "timeouts.udp": 5400,
    "timeouts.icmp": 5,
  });
  assert.deepEqual(parse("# nothing\n"), {});
});

const errors: Record<string, [string, string]> = {
  "an unknown key": [
    "uplink: eth0\nnodename: x\n",
    'c.yaml:2: unknown key "nodename"; did you mean nodeName?',
  ],
  "an unknown nested key": [
    "timeouts:\n  udb: 5\n",
    'c.yaml:2: unknown key "timeouts.udb"; did you mean timeouts.udp?',
  ],
  "a nested key in the wrong place": [
    "tcpNew: 5\n",
    'c.yaml:1: unknown key "tcpNew"; did you mean timeouts.tcpNew?',
  ],
  "a key like none": [
    "timeouts:\n  somethingElse: 5\n",
    'c.yaml:2: unknown key "timeouts.somethingElse"; known are timeouts.tcpNew, ' +
    "timeouts.tcpEstablished, timeouts.tcpClosing, timeouts.tcpClosed, timeouts.udp, timeouts.icmp",
  ],
  "a wrong word": ["attach: xdp\n", 'c.yaml:1: attach must be one of auto, tcx, clsact, not "xdp"'],
  "a number out of range": [
    "mapSizes: {services: 1}\n",
    "c.yaml:1: mapSizes.services must be a whole number from 16 to 16777216, not 1",
  ],
  "a wrong time": [
    "resync: soon\n",
    'c.yaml:1: resync must be a time from 1s to 365d, e.g. 90, 90s, 5m or 1h30m, not "soon"',
  ],
  "a relative path": ["bpffs: bpf\n", 'c.yaml:1: bpffs must be an absolute path, not "bpf"'],
  "a hostile device": [
    "uplink: ../../x\n",
    'c.yaml:1: uplink must be the name of a network device, not "../../x"',
  ],
  "a list for a value": [
    "uplink: [a, 5]\n",
    'c.yaml:1: uplink must be the name of a network device, not ["a",5]',
  ],
  "no value": ["uplink:\n", "c.yaml:1: uplink must have a single value"],
  "a value for a group": ["timeouts: 5\n", "c.yaml:1: timeouts must be a mapping of settings"],
  "a list": ["- a\n", "c.yaml:1: the file must be a mapping of settings"],
  "a key twice": ["uplink: a\nuplink: b\n", "c.yaml:2: Map keys must be unique"],
};

for (const [name, [text, message]] of Object.entries(errors)) {
  Deno.test(`parseConfig() says what is wrong about ${name}`, () => {
    assert.throws(() => parse(text), new ConfigError(message));
  });
}

Deno.test("loadConfig() lets flags win over the file and the file over defaults", async () => {
  const file = await Deno.makeTempFile({ prefix: "pcnk-t-" });
  try {
    await Deno.writeTextFile(file, "nodeName: from-file\nbridge: br7\nmapSizes: {services: 99}\n");
    const flags = new Map<string, unknown>([["nodeName", "from-flag"], ["mapSizes.backends", 77]]);
    const config = loadConfig(file, flags);
    assert.equal(config.nodeName, "from-flag");
    assert.equal(config.bridge, "br7");
    assert.equal(config.stateDir, "/run/pcnk");
    assert.equal(config.uplink, undefined);
    assert.deepEqual(config.mapSizes, {
      services: 99,
      backends: 77,
      sessions: 262144,
      endpoints: 4096,
      sourceRanges: 65536,
      maglev: 1024,
      affinity: 65536,
      fragments: 8192,
      nodes: 16384,
    });
    assert.equal(config.timeouts.tcpEstablished, 432000);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("loadConfig() names a file that is not there", () => {
  assert.throws(
    () => loadConfig("/nonexistent.yaml", new Map()),
    new ConfigError("configuration file /nonexistent.yaml: is not there"),
  );
});

Deno.test("flagName() makes every key a flag of its own", () => {
  assert.equal(flagName("nodeName"), "--node-name");
  assert.equal(flagName("mapSizes.services"), "--map-sizes-services");
  const flags = settings.map(({ key }) => flagName(key));
  assert.equal(new Set(flags).size, settings.length);
});
