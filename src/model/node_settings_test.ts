import { deepEqual, equal, match } from "node:assert/strict";
import {
  annotatedSettings,
  etcdKey,
  nodeSetting,
  nodeSettings,
  parseEtcdKey,
} from "./node_settings.ts";

Deno.test("parseEtcdKey() takes whole segments: node1 is never node10", () => {
  deepEqual(parseEtcdKey("/nodes/node1/directRouting"), { node: "node1", name: "directRouting" });
  deepEqual(parseEtcdKey("/nodes/node10/publicIP"), { node: "node10", name: "publicIP" });
  for (
    const key of [
      ...["/nodes/node1", "/nodes/node1/", "/nodes//directRouting", "nodes/n/vpcMode"],
      ...["/nodes/n/vpcMode/x", "/nodesx/n/vpcMode", "/nodes/n/VPCMODE", "/nodes/n/toString", ""],
    ]
  ) equal(parseEtcdKey(key), undefined, key);
  for (const { name } of nodeSettings) {
    deepEqual(parseEtcdKey(etcdKey("n", name)), { node: "n", name });
  }
});

Deno.test("NodeSetting.problem() knows good values from bad ones", () => {
  const good = {
    directRouting: ["true", "false"],
    vpcMode: ["aws", ""],
    publicIP: ["198.51.100.100"],
  };
  const bad = {
    directRouting: ["", "yes", "TRUE", "1", " true"],
    vpcMode: ["gcp", "AWS", " "],
    publicIP: ["", "198.51.100", "0.0.0.0", "224.0.0.1", "::1", "1.2.3.4/32", "host"],
  };
  for (const { name } of nodeSettings) {
    for (const value of good[name]) equal(nodeSetting(name).problem(value), undefined, value);
    for (const value of bad[name]) {
      match(nodeSetting(name).problem(value) ?? "", /^must be /, value);
    }
  }
});

Deno.test("annotatedSettings() reads pcnk's annotations and no others", () => {
  deepEqual(
    annotatedSettings({
      "pcnk.io/direct-routing": "true",
      "pcnk.io/vpc-mode": "",
      "pcnk.io/x": "y",
    }),
    { directRouting: "true", vpcMode: "" },
  );
});
