import assert from "node:assert/strict";
import { addressValue } from "../net/address.ts";
import { splitHostPort } from "../net/host_port.ts";
import { KernelState } from "./kernel.ts";
import { judgeOrphans, judgeStale, type SessionView } from "./sessions.ts";
import { backendKey, keyOf } from "./test_support.ts";

/** `10.96.0.1:53 10.1.0.1:5353`, UDP unless said otherwise. */
function session(text: string, rest: Partial<SessionView> = {}): SessionView {
  const [frontend, backend] = text.split(" ").map(splitHostPort);
  return {
    proto: 17,
    frontendAddr: frontend!.address,
    frontendPort: frontend!.port,
    backend: addressValue(backend!.address),
    backendPort: backend!.port,
    unestablished: false,
    ...rest,
  };
}

const gone = { ...backendKey("10.1.0.1:5353"), gone: true };
const draining = { ...backendKey("10.1.0.2:5353"), gone: false };
const lost = [gone, draining];

const capacity = { services: 10, backends: 10 };
const entry = { id: 1, first: 0, count: 1, totalWeight: 0, affinitySeconds: 0, flags: 0 };
const empty = new KernelState(capacity);

/** Entries whose only backend is 10.1.0.1:5353. */
function kernelWith(...keys: string[]): KernelState {
  const kernel = new KernelState(capacity);
  kernel.backends.set(0, addressValue("10.1.0.1"), 5353, 0, 0);
  kernel.load(keys.map((text) => ({ ...entry, key: keyOf(text) })));
  return kernel;
}

Deno.test("judgeStale() keeps sessions while the frontend has their backend in the other scope", () => {
  const stale = [{ frontend: keyOf("192.0.2.1:53/17/1"), backends: lost }];
  const one = session("192.0.2.1:53 10.1.0.1:5353"), other = session("192.0.2.1:53 10.1.0.2:5353");
  const judge = judgeStale(stale, kernelWith("192.0.2.1:53/17/0"));
  assert.deepEqual([judge(one), judge(other)], [false, true]);
  assert.equal(judgeStale(stale, kernelWith("192.0.2.2:53/17/0"))(one), true);
  const both = [...stale, { frontend: keyOf("192.0.2.1:53/17/0"), backends: lost }];
  assert.equal(judgeStale(both, empty)(one), true);
});

Deno.test("judgeStale() knows sessions of node ports, whatever address of the node they came by", () => {
  const judge = judgeStale(
    [{ frontend: keyOf("0.0.0.0:30053/17/1"), backends: lost }],
    kernelWith("10.96.0.1:30053/17/0"),
  );
  assert.equal(judge(session("192.0.2.1:30053 10.1.0.1:5353")), true);
  assert.equal(judge(session("192.0.2.9:30053 10.1.0.2:5353")), true);
  assert.equal(judge(session("192.0.2.1:30054 10.1.0.1:5353")), false);
  assert.equal(judge(session("10.96.0.1:30053 10.1.0.1:5353")), false, "a ClusterIP's own port");
});

Deno.test("judgeOrphans() knows sessions of node ports", () => {
  const judge = judgeOrphans(kernelWith("0.0.0.0:30053/17/1"));
  assert.equal(judge(session("192.0.2.1:30053 10.1.0.1:5353")), false);
  assert.equal(judge(session("192.0.2.1:30053 10.1.0.2:5353")), true);
  assert.equal(judge(session("192.0.2.1:30054 10.1.0.1:5353")), true);
});

Deno.test("judgeStale() ends datagrams to lost backends of their frontend and no others", () => {
  const judge = judgeStale([{ frontend: keyOf("10.96.0.1:53/17/0"), backends: lost }], empty);
  assert.equal(judge(session("10.96.0.1:53 10.1.0.1:5353")), true);
  assert.equal(judge(session("10.96.0.1:53 10.1.0.2:5353")), true);
  assert.equal(judge(session("10.96.0.1:53 10.1.0.3:5353")), false);
  assert.equal(judge(session("10.96.0.1:53 10.1.0.1:80")), false);
  assert.equal(judge(session("10.96.0.2:53 10.1.0.1:5353")), false);
  assert.equal(judge(session("10.96.0.1:53 10.1.0.1:5353", { proto: 6 })), false);
});

Deno.test("judgeStale() ends of the connections only handshakes with backends that are gone", () => {
  const judge = judgeStale([{ frontend: keyOf("10.96.0.1:53/6/0"), backends: lost }], empty);
  const tcp = (backend: string, unestablished: boolean) =>
    judge(session(`10.96.0.1:53 ${backend}`, { proto: 6, unestablished }));
  assert.equal(tcp("10.1.0.1:5353", true), true);
  assert.equal(tcp("10.1.0.1:5353", false), false);
  assert.equal(tcp("10.1.0.2:5353", true), false);
});

Deno.test("judgeOrphans() ends datagrams without their frontend or backend in the maps", () => {
  const kernel = new KernelState({ services: 10, backends: 10 });
  kernel.backends.set(0, addressValue("10.1.0.1"), 5353, 0, 0);
  kernel.load([
    { ...entry, key: keyOf("10.96.0.1:53/17/0") },
    { ...entry, key: keyOf("10.96.0.1:80/6/0"), count: 0 },
  ]);
  const judge = judgeOrphans(kernel);
  assert.equal(judge(session("10.96.0.1:53 10.1.0.1:5353")), false);
  assert.equal(judge(session("10.96.0.1:53 10.1.0.2:5353")), true);
  assert.equal(judge(session("10.96.0.9:53 10.1.0.1:5353")), true);
  assert.equal(judge(session("10.96.0.9:53 10.1.0.1:5353", { proto: 6 })), false);
  assert.equal(judge(session("10.96.0.9:53 10.1.0.1:5353", { proto: 1 })), false);
});
