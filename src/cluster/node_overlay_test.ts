import { deepEqual, equal } from "node:assert/strict";
import type { Node } from "../model/objects.ts";
import type { Change } from "../model/state.ts";
import { NodeOverlay } from "./node_overlay.ts";

function node(name: string, annotations?: Record<string, string>): Change {
  const object: Node = { kind: "Node", name, internalIPs: [], podCIDRs: [] };
  return {
    type: "upsert",
    object: annotations === undefined ? object : { ...object, annotations },
  };
}

/** An overlay, what followers were told last of each node, and the complaints. */
function overlay(remembered: [string, { directRouting?: string }][] = []) {
  const told = new Map<string, Record<string, string> | undefined>();
  const said: string[] = [];
  let count = 0;
  const it = new NodeOverlay({
    changes: (changes) =>
      changes.forEach(({ type, object }) => {
        count++;
        if (object.kind !== "Node") return;
        if (type === "delete") told.delete(object.name);
        else told.set(object.name, object.annotations);
      }),
    problem: (name, where, reason) => said.push(`${name} ${where}: ${reason ?? "good"}`),
    remembered: new Map(remembered),
  });
  return { it, told, said, count: () => count };
}

Deno.test("NodeOverlay passes Nodes with what the store says in their annotations", () => {
  const { it, told } = overlay();
  it.storeAll(new Map([["node1", { directRouting: "true" }], ["unknown", { vpcMode: "aws" }]]));
  it.changes([
    node("node1", { "pcnk.io/direct-routing": "false", "pcnk.io/x": "y" }),
    node("node10"),
  ]);
  deepEqual(told.get("node1"), { "pcnk.io/direct-routing": "true", "pcnk.io/x": "y" });
  equal(told.get("node10"), undefined);
  it.store("node10", "publicIP", "192.0.2.1");
  deepEqual(told.get("node10"), { "pcnk.io/public-ip": "192.0.2.1" });
  it.store("node1", "directRouting", undefined);
  deepEqual(told.get("node1"), { "pcnk.io/direct-routing": "false", "pcnk.io/x": "y" });
  it.storeAll(new Map());
  equal(told.get("node10"), undefined);
});

Deno.test("NodeOverlay reports a bad value once and goes on with the last good one", () => {
  const { it, told, said } = overlay();
  it.changes([node("n", { "pcnk.io/public-ip": "192.0.2.7" })]);
  it.changes([node("n", { "pcnk.io/public-ip": "nowhere" })]);
  it.changes([node("n", { "pcnk.io/public-ip": "nowhere" })]);
  deepEqual(told.get("n"), { "pcnk.io/public-ip": "192.0.2.7" });
  equal(it.store("n", "directRouting", "yes"), false);
  deepEqual(told.get("n"), { "pcnk.io/public-ip": "192.0.2.7" });
  it.store("n", "directRouting", "true");
  it.store("n", "directRouting", "TRUE");
  deepEqual(told.get("n")?.["pcnk.io/direct-routing"], "true");
  it.changes([node("n", { "pcnk.io/public-ip": "192.0.2.8" })]);
  deepEqual(told.get("n")?.["pcnk.io/public-ip"], "192.0.2.8");
  deepEqual(said, [
    'n annotation pcnk.io/public-ip: "nowhere" must be an IPv4 address of a host ("n" is neither a digit nor a dot); ignored, "192.0.2.7" stays',
    'n etcd key /nodes/n/directRouting: "yes" must be true or false; ignored',
    "n etcd key /nodes/n/directRouting: good",
    'n etcd key /nodes/n/directRouting: "TRUE" must be true or false; ignored, "true" stays',
    "n annotation pcnk.io/public-ip: good",
  ]);
});

Deno.test("NodeOverlay begins with what was remembered, and tells nothing when nothing changed", () => {
  const { it, told, count } = overlay([["n", { directRouting: "true" }]]);
  it.changes([node("n")]);
  deepEqual(told.get("n"), { "pcnk.io/direct-routing": "true" });
  equal(it.storeAll(new Map([["n", { directRouting: "true" }]])), false);
  equal(count(), 1);
  it.changes([{ ...node("n"), type: "delete" }]);
  it.storeAll(new Map());
  equal(count(), 2, "nothing is told of a node that is gone");
});
