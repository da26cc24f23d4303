import assert from "node:assert/strict";
import { routingSettings } from "./settings.ts";

Deno.test("routingSettings() reads the values of the settings", () => {
  const nothing = { publicIP: undefined, directRouting: undefined, vpcMode: undefined };
  assert.deepEqual(routingSettings({}), nothing);
  assert.deepEqual(routingSettings({ publicIP: "", vpcMode: "" }), nothing);
  assert.deepEqual(
    routingSettings({ publicIP: "203.0.113.7", directRouting: "false", vpcMode: "aws" }),
    { publicIP: "203.0.113.7", directRouting: false, vpcMode: "aws" },
  );
  assert.equal(routingSettings({ directRouting: "true" }).directRouting, true);
});
