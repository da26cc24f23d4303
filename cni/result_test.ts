import { deepEqual, equal, throws } from "node:assert/strict";
import { readConfig, VERSIONS } from "./config.ts";
import type { JsonObject } from "../src/node/files.ts";
import { needPrevResult, nodeInterfaces, ownResult, podAddresses } from "./result.ts";

const eth0 = { containerID: "c1", ifname: "eth0" };
const interfaces = [
  { name: "pcnk0", mac: "aa:aa:aa:aa:aa:aa" },
  { name: "veth1" },
  { name: "eth0", mac: "bb:bb:bb:bb:bb:bb", sandbox: "/run/netns/x" },
];

function addresses(ips: unknown, more: JsonObject = {}) {
  return podAddresses({ interfaces, ips, ...more }, eth0);
}

Deno.test("podAddresses() finds the IPv4 addresses of the pod's interface with their gateways", () => {
  deepEqual(
    addresses([
      { address: "10.1.0.2/24", gateway: "10.1.0.1", interface: 2 },
      { address: "fd00::2/64", gateway: "fd00::1", interface: 2 },
      { address: "10.1.0.1/24", interface: 0 },
      { address: "10.2.0.2/16", interface: 2 },
      { address: "10.1.0.2/24", interface: 2 },
    ]),
    [{ address: "10.1.0.2", gateway: "10.1.0.1" }, { address: "10.2.0.2", gateway: "0.0.0.0" }],
  );
});

Deno.test("podAddresses() takes an address that names no interface for the pod's", () => {
  const found = [{ address: "10.1.0.2", gateway: "0.0.0.0" }];
  deepEqual(addresses([{ address: "10.1.0.2/24" }]), found);
  deepEqual(podAddresses({ ips: [{ address: "10.1.0.2/24", interface: null }] }, eth0), found);
});

Deno.test("podAddresses() finds none where there is none", () => {
  deepEqual(addresses(undefined), []);
  deepEqual(addresses([]), []);
  deepEqual(addresses([{ address: "fd00::2/64", interface: 2 }]), []);
  deepEqual(addresses([{ address: "10.1.0.2/24", gateway: "fd00::1" }]), [
    { address: "10.1.0.2", gateway: "0.0.0.0" },
  ]);
});

Deno.test("podAddresses() wants the interface to be in a sandbox", () => {
  for (const list of [[{ name: "eth0" }], [{ name: "net1", sandbox: "/x" }]]) {
    throws(() => podAddresses({ interfaces: list }, eth0), { code: 7, message: /eth0/ });
  }
});

Deno.test("podAddresses() names the place of what is not as the spec says", () => {
  const bad: [JsonObject, RegExp][] = [
    [{ ips: 5 }, /^prevResult\.ips /],
    [{ ips: [5] }, /^prevResult\.ips\[0\] /],
    [{ ips: [{}] }, /^prevResult\.ips\[0\]\.address /],
    [{ ips: [{ address: 5 }] }, /ips\[0\]\.address/],
    [{ interfaces: "x" }, /^prevResult\.interfaces /],
    [{ interfaces: [null] }, /^prevResult\.interfaces\[0\] /],
    [{ interfaces: [{}] }, /interfaces\[0\]\.name/],
    [{ interfaces: [{ name: "eth0", sandbox: 5 }] }, /interfaces\[0\]\.sandbox/],
    [{ ips: [{ address: "10.1.0.2/24", gateway: "x" }] }, /ips\[0\]\.gateway/],
  ];
  for (const owner of [-1, 3, 1.5, "2", {}, 1e100]) {
    bad.push([{ ips: [{ address: "10.1.0.2/24", interface: owner }] }, /ips\[0\]\.interface/]);
  }
  for (
    const address of [
      ...["", "10.1.0.2", "10.1.0.2/", "10.1.0.2/33", "10.1.0/24", "10.1.0.256/24", "010.1.0.2/24"],
      ...["10.1.0.2/24/1", "x/24", "fd00::1/129", "10.1.0.2/-1", "../../etc/24", "10.1.0.2 /24"],
    ]
  ) {
    bad.push([{ ips: [{ address }] }, /ips\[0\]\.address/]);
  }
  for (const [result, message] of bad) {
    throws(() => podAddresses({ interfaces, ...result }, eth0), { code: 7, message });
  }
});

Deno.test("nodeInterfaces() are those without a sandbox", () => {
  deepEqual(nodeInterfaces({ interfaces }), ["pcnk0", "veth1"]);
});

Deno.test("ownResult() gives a result of the same shape back as it came, unknown keys too", () => {
  for (const cniVersion of VERSIONS) {
    const ips = [{ address: "10.1.0.2/24", ...(cniVersion < "1" ? { version: "4" } : {}) }];
    const result = {
      cniVersion,
      interfaces: [{ name: "eth0", mtu: 1450, socketPath: "/x", "x-y": [1, { z: null }] }],
      ips,
      routes: [{ dst: "0.0.0.0/0", mtu: 1400, table: 254, scope: 0 }],
      dns: { nameservers: ["10.1.0.1"] },
      later: { key: true },
    };
    deepEqual(ownResult(result, cniVersion), result);
    equal(JSON.stringify(ownResult(result, cniVersion)), JSON.stringify(result));
  }
});

Deno.test("ownResult() converts between the two shapes", () => {
  const addresses = [{ address: "10.1.0.2/24", interface: 0 }, { address: "fd00::2/64" }];
  const old = {
    cniVersion: "0.4.0",
    ips: [{ version: "4", ...addresses[0] }, { version: "6", ...addresses[1] }],
  };
  const young = { cniVersion: "1.0.0", ips: addresses };
  deepEqual(ownResult(old, "1.1.0"), { ...young, cniVersion: "1.1.0" });
  deepEqual(ownResult(young, "0.3.1"), { ...old, cniVersion: "0.3.1" });
  deepEqual(ownResult(young, "1.1.0"), { ...young, cniVersion: "1.1.0" });
  deepEqual(ownResult(old, "0.3.0"), { ...old, cniVersion: "0.3.0" });
});

Deno.test("ownResult() takes a result without a version for one of the configuration's", () => {
  deepEqual(ownResult({ ips: [{ address: "10.1.0.2/24" }] }, "1.0.0"), {
    cniVersion: "1.0.0",
    ips: [{ address: "10.1.0.2/24" }],
  });
});

Deno.test("ownResult() refuses a result of a version that has another format", () => {
  throws(() => ownResult({ cniVersion: "0.2.0", ip4: {} }, "1.0.0"), { code: 1 });
});

Deno.test("needPrevResult() says why there must be one", () => {
  const config = { cniVersion: "1.0.0", name: "n", type: "pcnk" };
  throws(() => needPrevResult(readConfig(config)), { code: 7, message: /prevResult/ });
  const prevResult = { ips: [] };
  deepEqual(needPrevResult(readConfig({ ...config, prevResult })), prevResult);
});
