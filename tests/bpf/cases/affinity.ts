/** sessionAffinity ClientIP. */
import assert from "node:assert/strict";
import { AFFINITY_KIND, SCOPE } from "../../../src/bpf/layout.ts";
import { PROTO, tcp, udp } from "../support/packet.ts";
import { IN, NODE, node, OUTSIDE } from "../support/node.ts";
import { CLIENT, test, VIP } from "../support/scene.ts";
import type { World } from "../support/world.ts";

const vip = `${VIP}:80`;
const backends = Array.from({ length: 50 }, (_, i) => `10.9.0.${i}:8080`);

/** New flows of a client from these ports; the backends that they get. */
function ask(w: World, client: string, ports: number[], dst = vip): string[] {
  return ports.map((port) => {
    const src = `${client}:${port}`;
    w.run(tcp({ src, dst, flags: "S" }));
    return w.target({ src, dst })!;
  });
}

const ports = (first: number) => Array.from({ length: 20 }, (_, i) => first + i);

function entry(w: World, client: string, id = 1) {
  const [a, b, c, d] = client.split(".").map(Number);
  const number = BigInt(a! | b! << 8 | c! << 16) + BigInt(d!) * (1n << 24n);
  return [
    { client: number, slot: id, kind: AFFINITY_KIND.ADDRESS },
    w.maps.affinity_proven,
  ] as const;
}

test("affinity_index() keeps a client's new flows on its backend", (w) => {
  w.service(vip, backends, { affinity: 100 });
  const first = new Set(ask(w, CLIENT, ports(1000)));
  assert.equal(first.size, 1);
  // Others have backends of their own.
  const others = Array.from({ length: 30 }, (_, i) => ask(w, `10.1.1.${i}`, [1000])[0]);
  assert(new Set(others).size > 5);
});

test("backend_pick() knows no affinity where none is asked for", (w) => {
  w.service(vip, backends);
  assert(new Set(ask(w, CLIENT, ports(1000))).size > 5);
  assert.equal(w.maps.affinity.keys().length, 0);
});

test("affinity_index() follows the backend when the service changes", (w) => {
  w.service(vip, backends, { affinity: 100 });
  const [chosen] = ask(w, CLIENT, [1000]);
  w.service(vip, [...backends].reverse(), { affinity: 100 });
  assert.deepEqual(new Set(ask(w, CLIENT, ports(2000))), new Set([chosen]));
  w.service(vip, backends.filter((one) => one !== chosen), { affinity: 100 });
  const after = new Set(ask(w, CLIENT, ports(3000)));
  assert.equal(after.size, 1);
  assert(!after.has(chosen!));
});

test("affinity_index() ends when the client was away for too long", (w) => {
  w.service(vip, backends, { affinity: 100 });
  const [chosen] = ask(w, CLIENT, [1000]);
  const [key, map] = entry(w, CLIENT);
  const age = (seconds: number) => {
    const value = map.get(key)!;
    const last_used = BigInt.asUintN(64, value.last_used - BigInt(seconds) * 1_000_000_000n);
    map.set(key, { ...value, last_used });
  };
  // Each new flow counts from anew.
  for (let i = 0; i < 5; i++) {
    age(95);
    assert.deepEqual(ask(w, CLIENT, [2000 + i]), [chosen]);
  }
  w.service(vip, [...backends].reverse(), { affinity: 100 });
  age(95);
  assert.deepEqual(ask(w, CLIENT, [3000]), [chosen]);
  age(105);
  const later = ask(w, CLIENT, [4000]);
  assert.notDeepEqual(later, [chosen]);
  assert.deepEqual(ask(w, CLIENT, [4001]), later);
});

test("affinity is of a Service port: its addresses share it, others do not", (w) => {
  w.service(vip, backends, { affinity: 100, id: 7 });
  w.service("10.96.0.11:80", backends, { affinity: 100, id: 7 });
  const chosen = ask(w, CLIENT, [1000]);
  assert.deepEqual(ask(w, CLIENT, [1001], "10.96.0.11:80"), chosen);
  const others = Array.from({ length: 10 }, (_, i) => {
    w.service(`${VIP}:${81 + i}`, backends, { affinity: 100, id: 8 + i });
    return ask(w, CLIENT, [2000 + i], `${VIP}:${81 + i}`)[0];
  });
  assert(new Set(others).size > 1);
});

test("affinity_index() serves UDP, and clients outside the cluster", (w) => {
  node(w);
  w.service("0.0.0.0:30053", backends, {
    affinity: 100,
    proto: PROTO.UDP,
    scope: SCOPE.EXTERNAL,
    addressEntry: false,
  });
  const targets = ports(1000).map((port) => {
    const flow = { src: `${OUTSIDE}:${port}`, dst: `${NODE}:30053`, proto: PROTO.UDP };
    w.run(udp({ ...flow, ...IN }), "k8sd_from_uplink");
    return w.target(flow);
  });
  assert.equal(new Set(targets).size, 1);
});

test("affinity of a release that had no proven entries goes on", (w) => {
  w.service(vip, backends, { affinity: 100 });
  const [chosen] = ask(w, CLIENT, [1000]);
  const [key, map] = entry(w, CLIENT);
  const { service_id, ...rest } = map.get(key)!;
  map.deleteBatch([key]);
  w.maps.affinity.set({ client: key.client, service_id, kind: key.kind }, rest);
  w.service(vip, [...backends].reverse(), { affinity: 100 });
  assert.deepEqual(ask(w, CLIENT, [1001]), [chosen]);
  assert.equal(map.get(key)?.service_id, service_id);
});
