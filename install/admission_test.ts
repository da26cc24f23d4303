import assert from "node:assert/strict";
import { evaluate } from "@marcbachmann/cel-js";
import { admission } from "./admission.ts";
import { condition } from "../src/agent/node/node_condition.ts";

// deno-lint-ignore no-explicit-any -- objects of Kubernetes are looked into at many depths
type Any = any;

const all = admission("kube-system") as Any[];
const AGENT = "system:serviceaccount:kube-system:pcnk";
const CLAIM = "authentication.kubernetes.io/node-name";

interface Request {
  policy: string;
  object: Any;
  oldObject?: Any;
  username?: string;
  /** `userInfo.extra`; undefined: left out, as the API does. */
  extra?: Record<string, string[]>;
}

/** The message of the first validation that refuses the request; undefined: it is admitted. As KEP-3488 says. */
function refusal({ policy, object, oldObject, username = AGENT, extra }: Request) {
  const { spec } = all.find(({ kind, metadata }) =>
    kind === "ValidatingAdmissionPolicy" && metadata.name === policy
  );
  const userInfo = extra === undefined ? { username } : { username, extra };
  const request = { userInfo, operation: oldObject === undefined ? "CREATE" : "UPDATE" };
  const context: Any = { request, object, oldObject: oldObject ?? null, variables: {} };
  const value = (expression: string) => evaluate(expression, context);
  if (spec.matchConditions.some((one: Any) => value(one.expression) !== true)) return undefined;
  for (const { name, expression } of spec.variables) context.variables[name] = value(expression);
  return spec.validations.find((one: Any) => value(one.expression) !== true)?.message;
}

const own = { [CLAIM]: ["n1"] };

const node = (name = "n1"): Any => ({
  metadata: { name, labels: { a: "b" }, annotations: { "pcnk.io/public-ip": "192.0.2.1" } },
  spec: { podCIDR: "10.1.0.0/24" },
  status: {
    addresses: [{ type: "InternalIP", address: "192.0.2.11" }],
    capacity: { cpu: "4" },
    conditions: [{ type: "Ready", status: "True" }, {
      type: "NetworkUnavailable",
      status: "True",
    }],
  },
});

/** A Node, changed. */
function changed(change: (node: Any) => void, name?: string) {
  const one = node(name);
  change(one);
  return one;
}

const setCondition = (one: Any) => {
  one.status.conditions[1] = condition(new Date(0));
};

Deno.test("admission() has the fields of admissionregistration.k8s.io/v1, and a binding that denies", () => {
  assert.deepEqual(
    all.map(({ apiVersion, kind, metadata }) => [apiVersion, kind, metadata.name].join(" ")),
    ["pcnk-node-status", "pcnk-events"].flatMap((name) => [
      `admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy ${name}`,
      `admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding ${name}`,
    ]),
  );
  const [policy, binding, events] = all;
  assert.deepEqual(Object.keys(policy.spec), [
    ...["failurePolicy", "matchConstraints", "matchConditions", "variables", "validations"],
  ]);
  assert.equal(policy.spec.failurePolicy, "Fail");
  assert.deepEqual(policy.spec.matchConstraints.resourceRules, [
    { apiGroups: [""], apiVersions: ["v1"], operations: ["UPDATE"], resources: ["nodes/status"] },
  ]);
  assert.deepEqual(events.spec.matchConstraints.resourceRules[0].operations, ["CREATE", "UPDATE"]);
  assert.deepEqual(binding.spec, { policyName: "pcnk-node-status", validationActions: ["Deny"] });
  for (const { spec } of [policy, events]) {
    for (const one of spec.validations) {
      assert.deepEqual(Object.keys(one), ["expression", "message", "reason"]);
    }
  }
});

Deno.test("admission() is about the agents' ServiceAccount only", () => {
  const [{ spec }] = admission("net") as Any[];
  assert.deepEqual(spec.matchConditions, [{
    name: "agent",
    expression: "request.userInfo.username == 'system:serviceaccount:net:pcnk'",
  }]);
});

Deno.test("admission() lets an agent set its own Node's NetworkUnavailable, also where it was not", () => {
  const policy = "pcnk-node-status";
  for (const old of [node(), changed((one) => one.status.conditions.pop())]) {
    const object = structuredClone(old);
    setCondition(object);
    assert.equal(refusal({ policy, object, oldObject: old, extra: own }), undefined);
  }
  const bare = changed((one) => delete one.status.conditions);
  const first = changed((one) => one.status.conditions = [condition(new Date(0), "why")]);
  assert.equal(refusal({ policy, object: first, oldObject: bare, extra: own }), undefined);
});

Deno.test("admission() lets others write what they may: the kubelet, controllers", () => {
  const object = changed((one) => one.status.addresses = []);
  const username = "system:node:n1";
  const policy = "pcnk-node-status";
  assert.equal(refusal({ policy, object, oldObject: node(), username }), undefined);
});

Deno.test("admission() refuses an agent all else of a Node's status", () => {
  const cases: [RegExp, (one: Any) => void][] = [
    [/may not change a Node's metadata/, (one) => one.metadata.labels.role = "master"],
    [/may not change a Node's metadata/, (one) => delete one.metadata.annotations],
    [/may not change a Node's metadata/, (one) => one.metadata.finalizers = ["x"]],
    [/no other/, (one) => one.status.conditions[0].status = "False"],
    [/no other/, (one) => one.status.conditions.push({ type: "DiskPressure", status: "True" })],
    [/no other/, (one) => one.status.conditions.shift()],
    [/nothing else/, (one) => one.status.addresses[0].address = "192.0.2.12"],
    [/nothing else/, (one) => delete one.status.addresses],
    [/nothing else/, (one) => one.status.capacity["example.com/gpu"] = "8"],
    [/nothing else/, (one) => one.status.volumesAttached = [{ name: "v", devicePath: "" }]],
  ];
  for (const [message, change] of cases) {
    const object = changed((one) => (setCondition(one), change(one)));
    const answer = refusal({
      policy: "pcnk-node-status",
      object,
      oldObject: node(),
      extra: own,
    });
    assert.match(answer ?? "admitted", message, String(change));
  }
});

Deno.test("admission() refuses an agent another Node, and a token of no Node", () => {
  const policy = "pcnk-node-status";
  const request = { policy, object: changed(setCondition), oldObject: node() };
  const others = { [CLAIM]: ["n2"] };
  assert.match(refusal({ ...request, extra: others }), /its own Node only/);
  const none: Request["extra"][] = [undefined, {}, { [CLAIM]: [] }, { [CLAIM]: ["n1", "n2"] }];
  for (const extra of none) {
    assert.match(refusal({ ...request, extra }), /bound to a Pod or to a Node/);
  }
});

Deno.test("admission() lets an agent write its own Events only", () => {
  const policy = "pcnk-events";
  const event = (name: string, reportingComponent = "pcnk", kind = "Node") => ({
    metadata: { name: "e" },
    involvedObject: { kind, name },
    reportingComponent,
  });
  const mine = event("n1");
  assert.equal(refusal({ policy, object: mine, extra: own }), undefined);
  assert.equal(refusal({ policy, object: mine, oldObject: mine, extra: own }), undefined);
  for (const other of [event("n2"), event("n1", "kubelet"), event("n1", "pcnk", "Pod"), {}]) {
    const bad = { involvedObject: {}, ...other };
    assert.match(refusal({ policy, object: bad, extra: own }), /own Node only/);
    assert.match(refusal({ policy, object: mine, oldObject: bad, extra: own }), /own Events only/);
  }
  assert.match(refusal({ policy, object: mine }), /bound to/);
});
