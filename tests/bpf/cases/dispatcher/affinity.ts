/** sessionAffinity ClientIP, while many others ask. */
import assert from "node:assert/strict";
import { SCOPE, SHARE_AFFINITY_SLOTS, SHARE_KIND } from "../../../../src/bpf/layout.ts";
import { PROTO, tcp } from "../../support/packet.ts";
import { IN, NODE, OUTSIDE } from "../../support/node.ts";
import { CLIENT, LOCAL, test, VIP } from "../../support/scene.ts";
import type { World } from "../../support/world.ts";

const vip = `${VIP}:80`;
const backends = Array.from({ length: 50 }, (_, i) => `10.9.0.${i}:8080`);

/** The backend of a pod's new flow. */
function ask(w: World, client: string, port: number): string | undefined {
  const src = `${client}:${port}`;
  w.run(tcp({ src, dst: vip, flags: "S" }));
  return w.target({ src, dst: vip });
}

const nodePort = `${NODE}:30080`;

/** A connection from outside, as far as its handshake. */
function connect(w: World, client: string, answered = true): string {
  const src = client, run = (flags: string) => w.run(tcp({ src, dst: nodePort, flags, ...IN }), up);
  run("S");
  const { dst, src: by, dport, sport } = w.session({ src, dst: nodePort })!;
  if (!answered) return `${dst}:${dport}`;
  w.run(tcp({ src: `${dst}:${dport}`, dst: `${by}:${sport}`, flags: "SA", ...IN }), up);
  run("A");
  return `${dst}:${dport}`;
}
const up = "k8sd_from_uplink";

function open(w: World, targets: string[]): void {
  const options = { affinity: 100, scope: SCOPE.EXTERNAL, addressEntry: false };
  w.service("0.0.0.0:30080", targets, options);
}

test("affinity_confirm() keeps what connections are established from, whoever floods", (w) => {
  open(w, backends);
  const chosen = connect(w, `${OUTSIDE}:1`);
  const claimed = connect(w, "198.51.100.8:1", false);
  w.service(vip, backends, { affinity: 100 });
  const pod = ask(w, CLIENT, 1000);
  assert.equal(w.maps.affinity.keys().length, 1);
  w.maps.affinity.deleteBatch(w.maps.affinity.keys()); // as new flows from very many addresses do
  assert.equal(connect(w, "198.51.100.8:2"), claimed, "the same hash");
  open(w, [...backends].reverse());
  assert.equal(connect(w, `${OUTSIDE}:2`, false), chosen);
  w.service(vip, [...backends].reverse(), { affinity: 100 });
  assert.equal(ask(w, CLIENT, 1001), pod);
  assert.equal(w.maps.affinity.keys().length, 0, "both are proven");
});

test("a client with very many Services has its share of affinity", (w) => {
  w.service(vip, backends, { affinity: 100 });
  const other = ask(w, LOCAL, 1000);
  const key = { addr: VIP, port: 80, proto: PROTO.TCP, scope: SCOPE.CLUSTER };
  const service = w.maps.services.get(key)!;
  for (let id = 2; id < 5002; id++) {
    w.maps.services.set(key, { ...service, id });
    w.run(tcp({ src: `${CLIENT}:${id}`, dst: vip, flags: "S" }));
  }
  assert.equal(w.maps.affinity_proven.keys().length, SHARE_AFFINITY_SLOTS + 1);
  const { times } = w.maps.shares.get({ addr: CLIENT, ifindex: 0 })!;
  assert.equal(times[SHARE_KIND.AFFINITY], BigInt(5000 - SHARE_AFFINITY_SLOTS));
  w.maps.services.set(key, service);
  w.service(vip, [...backends].reverse(), { affinity: 100 });
  assert.equal(ask(w, LOCAL, 1001), other);
});

test("what a Service of long ago has left is no excess of a client", (w) => {
  w.service(vip, backends, { affinity: 100 });
  ask(w, CLIENT, 1000);
  const [key, value] = w.maps.affinity_proven.entries()[0]!;
  const last_used = BigInt.asUintN(64, value.last_used - 4n * 3600n * 1_000_000_000n);
  w.maps.affinity_proven.set(key, {
    ...value,
    service_id: 1 + SHARE_AFFINITY_SLOTS,
    last_used,
  });
  ask(w, CLIENT, 1001);
  assert.equal(w.maps.affinity_proven.get(key)!.service_id, value.service_id);
  assert.equal(w.maps.shares.keys().length, 0);
});
