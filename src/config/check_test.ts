import { deepEqual, match, throws } from "node:assert/strict";
import { warnings } from "./check.ts";
import { loadConfig, parseConfig } from "./load.ts";

/** The configuration that a file of `text` makes. */
function load(text: string) {
  return loadConfig(undefined, new Map([...parseConfig(text, "c.yaml"), ["nodeName", "n1"]]));
}

const contradictions: Record<string, [string, RegExp]> = {
  "SNAT ports that NodePorts have": [
    "snatPorts: 1024-30000\n",
    /^ConfigError: snatPorts 1024-30000 overlaps serviceNodePortRange 30000-32767: .*give ranges/,
  ],
  "NodePorts moved into the SNAT ports": [
    "serviceNodePortRange: 20000-22767\n",
    /snatPorts 1024-29999 overlaps serviceNodePortRange 20000-22767/,
  ],
  "a certificate without its key": [
    "etcd_url: https://e:2379\netcd: {cert: /c}\n",
    /etcd\.cert and etcd\.key belong together/,
  ],
  "a user without a password": [
    "etcd_url: https://e:2379\netcd: {username: pcnk}\n",
    /etcd\.username and etcd\.passwordFile belong together/,
  ],
  "etcd's CA without etcd": ["etcd: {ca: /c}\n", /etcd\.ca is given without etcd_url/],
  "certificates for a plain connection": [
    "etcd_url: http://e:2379\netcd: {ca: /c}\n",
    /http:\/\/e:2379 is not encrypted.*write https/,
  ],
};

for (const [name, [text, message]] of Object.entries(contradictions)) {
  Deno.test(`loadConfig() refuses ${name}`, () => {
    throws(() => load(text), message);
  });
}

Deno.test("loadConfig() takes a ConfigMap of Polycube's as it is, and warnings() says what does nothing", () => {
  const config = load(
    'mtu: "1450"\nserviceClusterIPRange: "10.96.0.0/12"\nserviceNodePortRange: "30000-32767"\n' +
      'vtepsRange: "10.18.0.0/16"\netcd_url: "http://127.0.0.1:30901"\n',
  );
  deepEqual([config.mtu, config.etcd_url], [1450, ["http://127.0.0.1:30901"]]);
  deepEqual(config.serviceNodePortRange, { first: 30000, last: 32767 });
  const said = warnings(config);
  deepEqual(said.length, 2);
  match(
    said[0]!,
    /^serviceClusterIPRange \(--service-cluster-ip-range\) has no effect: .*; leave it out$/,
  );
  match(said[1]!, /^vtepsRange \(--vteps-range\) has no effect: /);
});

Deno.test("warnings() is silent about defaults, and tells of a password on a plain connection", () => {
  deepEqual(warnings(load("")), []);
  const text = "etcd_url: http://e:2379\netcd: {username: pcnk, passwordFile: /p}\n";
  match(warnings(load(text)).join(), /password for etcd goes over an unencrypted connection/);
  match(
    warnings(load("overlay: {port: 30789}\n")).join(),
    /overlay\.port 30789 is in serviceNodePort/,
  );
});

Deno.test("parseConfig() refuses what is no server of etcd and no prefix", () => {
  for (const bad of ["127.0.0.1:2379", "ftp://e", "http://e/v3", "http://u:p@e", '""']) {
    throws(
      () => parseConfig(`etcd_url: ${bad}\n`, "c.yaml"),
      /etcd_url must be URLs of servers/,
      bad,
    );
  }
  throws(
    () => parseConfig("vtepsRange: 10.18.0.0\n", "c.yaml"),
    /vtepsRange must be an IPv4 prefix/,
  );
});

Deno.test("loadConfig() takes SNAT ports beside the NodePorts, on either side", () => {
  for (const ports of ["1024-29999", "32768-60000"]) load(`snatPorts: ${ports}\n`);
});
