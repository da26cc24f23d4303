import assert from "node:assert/strict";
import { unknown } from "./bits.ts";
import { type Chain, Evaluation, type Point, type Rule, type Step, type Verdict } from "./chain.ts";
import { CT_STATE, ipv4, PROTOCOL } from "./packet.ts";

const point: Point = { layer: "ip", hook: "input", iif: [{ index: 3, name: "pcnk0" }], oif: [] };
const yes: Step = () => true, no: Step = () => false, perhaps: Step = () => undefined;
const named: Step = (e) => (e.noteName(true, true), true);
const accept: Verdict = { kind: "accept" }, drop: Verdict = { kind: "drop" };
const go = (kind: "jump" | "goto", chain: string): Verdict => ({ kind, chain });

type Rules = Record<string, [...Step[], Verdict][]>;

/** What drops a packet at `input`, where the chain `base` is. */
function met(rules: Rules, policy: "accept" | "drop" = "accept", priority = 0): string[] {
  const chain = (name: string): Chain => ({
    name,
    shown: "",
    base: name === "base"
      ? { layer: "ip", hook: "input", priority, policy, devices: [] }
      : undefined,
    rules: () =>
      rules[name]?.map((parts, i): Rule => ({
        name: `${i}`,
        steps: parts.map((step) => typeof step === "function" ? step : () => step),
      })),
    sibling: (other) => rules[other] && chain(other),
  });
  const any = { addr: unknown(4) };
  const evaluation = new Evaluation(ipv4({ src: any, dst: any, protocol: PROTOCOL.TCP }));
  return [...evaluation.at(point, [chain("base")])]
    .map(({ chain, rule, which }) => `${chain.name} ${rule?.name ?? "policy"} ${which}`);
}

Deno.test("the first rule whose conditions hold decides", () => {
  assert.deepEqual(met({ base: [[no, drop], [yes, accept], [drop]] }, "drop"), []);
  assert.deepEqual(met({ base: [[no, accept], [yes, drop], [accept]] }), ["base 1 all"]);
  assert.deepEqual(met({ base: [] }, "drop"), ["base policy all"]);
});

Deno.test("a drop behind a rule that may accept is for what that leaves", () => {
  assert.deepEqual(met({ base: [[perhaps, accept], [drop]] }), ["base 1 left"]);
  assert.deepEqual(met({ base: [[perhaps, accept]] }, "drop"), ["base policy left"]);
});

Deno.test("a drop that depends is named only if the rule names the packets", () => {
  assert.deepEqual(met({ base: [[perhaps, drop]] }), []);
  assert.deepEqual(met({ base: [[named, perhaps, drop]] }), ["base 0 some"]);
  assert.deepEqual(met({ base: [[named, go("jump", "sub")]], sub: [[perhaps, drop]] }), [
    "sub 0 some",
  ]);
});

Deno.test("jumps come back, gotos do not", () => {
  const sub: Rules = { sub: [[no, drop], [{ kind: "return" }], [drop]] };
  assert.deepEqual(met({ base: [[go("jump", "sub")], [drop]], ...sub }), ["base 1 all"]);
  assert.deepEqual(met({ base: [[go("goto", "sub")], [drop]], ...sub }), []);
  assert.deepEqual(met({ base: [[perhaps, go("jump", "sub")]], sub: [[accept]] }, "drop"), [
    "base policy left",
  ]);
  assert.deepEqual(met({ base: [[go("jump", "base")]] }, "drop"), ["base policy left"], "a loop");
});

Deno.test("a chain that is not read may accept", () => {
  assert.deepEqual(met({}, "drop"), ["base policy left"]);
});

Deno.test("a program in user space may drop what it gets", () => {
  assert.deepEqual(met({ base: [[{ kind: "queue" }]] }, "drop"), ["base 0 some"]);
});

Deno.test("chains ahead of conntrack see no state", () => {
  const invalid: Step = (e) => e.state === CT_STATE.INVALID;
  assert.deepEqual(met({ base: [[invalid, drop]] }), []);
  assert.deepEqual(met({ base: [[invalid, drop]] }, "accept", -300), ["base 0 all"]);
});
