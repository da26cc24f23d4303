import { deepEqual, equal } from "node:assert/strict";
import { EffectiveSettings } from "./effective_settings.ts";
import type { SettingsByNode } from "./last_good.ts";

/** With the problems that were reported. */
function make(remembered?: SettingsByNode) {
  const problems: string[] = [];
  const settings = new EffectiveSettings(
    (name, where, reason) => problems.push(`${name} ${where}: ${reason ?? "good"}`),
    remembered,
  );
  return { settings, problems };
}

Deno.test("EffectiveSettings takes the store's value before the annotation", () => {
  const { settings } = make();
  deepEqual(
    settings.storeAll(new Map([["node1", { directRouting: "true" }], ["x", { vpcMode: "aws" }]])),
    ["node1", "x"],
  );
  settings.annotate("node1", { "pcnk.io/direct-routing": "false", "pcnk.io/x": "y" });
  deepEqual(settings.of("node1"), { directRouting: "true" });
  deepEqual(settings.of("node10"), {});
  equal(settings.store("node10", "publicIP", "192.0.2.1"), true);
  deepEqual(settings.of("node10"), { publicIP: "192.0.2.1" });
  settings.store("node1", "directRouting", undefined);
  deepEqual(settings.of("node1"), { directRouting: "false" });
  deepEqual(settings.storeAll(new Map()), ["x", "node10"]);
  deepEqual(settings.of("node10"), {});
  settings.annotate("node1");
  deepEqual(settings.of("node1"), {}, "a Node that is gone has no settings");
});

Deno.test("EffectiveSettings reports a bad value once and keeps the last good one", () => {
  const { settings, problems } = make();
  settings.annotate("n", { "pcnk.io/public-ip": "192.0.2.7" });
  settings.annotate("n", { "pcnk.io/public-ip": "nowhere" });
  settings.annotate("n", { "pcnk.io/public-ip": "nowhere" });
  deepEqual(settings.of("n"), { publicIP: "192.0.2.7" });
  equal(settings.store("n", "directRouting", "yes"), false);
  deepEqual(settings.of("n"), { publicIP: "192.0.2.7" });
  settings.store("n", "directRouting", "true");
  settings.store("n", "directRouting", "TRUE");
  equal(settings.of("n").directRouting, "true");
  settings.annotate("n", { "pcnk.io/public-ip": "192.0.2.8" });
  equal(settings.of("n").publicIP, "192.0.2.8");
  deepEqual(problems, [
    'n annotation pcnk.io/public-ip: "nowhere" must be an IPv4 address of a host ("n" is neither a digit nor a dot); ignored, "192.0.2.7" stays',
    'n etcd key /nodes/n/directRouting: "yes" must be true or false; ignored',
    "n etcd key /nodes/n/directRouting: good",
    'n etcd key /nodes/n/directRouting: "TRUE" must be true or false; ignored, "true" stays',
    "n annotation pcnk.io/public-ip: good",
  ]);
});

Deno.test("EffectiveSettings begins with the remembered values, and names only nodes that change", () => {
  const { settings } = make(new Map([["n", { directRouting: "true" }]]));
  deepEqual(settings.of("n"), { directRouting: "true" });
  deepEqual(settings.storeAll(new Map([["n", { directRouting: "true" }]])), []);
});
