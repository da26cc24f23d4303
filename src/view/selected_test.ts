import { deepEqual, equal } from "node:assert/strict";
import { describeSelected, selectPods } from "./selected.ts";

const pod = (labels: Record<string, string>, ready = true) => ({ labels, ready });

Deno.test("selectPods() counts the Pods that have all labels of the selector", () => {
  const pods = [
    pod({ app: "web", tier: "front" }),
    pod({ app: "web", tier: "front" }, false),
    pod({ app: "web" }),
  ];
  const found = selectPods("app=web,tier=front", pods, false);
  deepEqual(found, { compared: 3, more: false, matching: 2, ready: 1, similar: undefined });
  equal(
    describeSelected("app=web,tier=front", "shop", found),
    "its selector app=web,tier=front matches 2 Pods, of which 1 is ready",
  );
});

Deno.test("selectPods() finds what was probably meant when nothing matches", () => {
  const pods = [pod({ app: "db" }), pod({ app: "web", tier: "front" }), pod({ app: "web" })];
  const typo = selectPods("app=wbe", pods, false);
  deepEqual(typo.similar, { label: "app=web", pods: 2 });
  equal(
    describeSelected("app=wbe", "shop", typo),
    "its selector app=wbe matches none of 3 Pods in namespace shop; 2 Pods there have app=web: probably a typing error",
  );
  // The label that does match is not the one that is wrong.
  deepEqual(selectPods("app=db,tier=fornt", pods, false).similar, { label: "tier=front", pods: 1 });
  equal(selectPods("component=scheduler", pods, false).similar, undefined);
  equal(
    describeSelected("a=b", "shop", selectPods("a=b", pods.slice(0, 1), true)),
    "its selector a=b matches none of the first 1 Pods in namespace shop",
  );
});
