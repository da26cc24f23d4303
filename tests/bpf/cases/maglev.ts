/** Maglev: the backend follows from the client, on any node. */
import assert from "node:assert/strict";
import { MAGLEV_SLOTS, SCOPE, SERVICE_FLAG } from "../../../src/bpf/layout.ts";
import { maglevElements, maglevTable, packMaglev } from "../../../src/services/maglev.ts";
import { tcp } from "../support/packet.ts";
import { IN, NODE, node, OTHER_NODE, OUTSIDE } from "../support/node.ts";
import { CLIENT, test, VIP } from "../support/scene.ts";
import type { World } from "../support/world.ts";

const vip = `${VIP}:80`;
const SIZE = 251;
const backends = Array.from({ length: 10 }, (_, i) => `10.9.0.${i}:8080`);

/** Writes a table, as an agent does. */
function table(w: World, number: number, list: readonly string[]): void {
  const parsed = list.map((one) => {
    const [addr = "", port] = one.split(":");
    return { addr, port: Number(port), weight: 1 };
  });
  w.configure({ maglev_size: SIZE });
  const first = number * maglevElements(SIZE);
  [...packMaglev(maglevTable(parsed, SIZE))].forEach((slots, i) =>
    w.maps.maglev.set(first + i, slots)
  );
}

/** The backends of a client's flows from 200 ports. */
function ask(w: World, dst = vip, client = CLIENT): string[] {
  return Array.from({ length: 200 }, (_, i) => {
    const src = `${client}:${1000 + i}`;
    w.run(tcp({ src, dst, flags: "S" }));
    return w.target({ src, dst })!;
  });
}

function forget(w: World): void {
  w.maps.sessions.deleteBatch(w.maps.sessions.keys());
}

test("maglev_index() gives a client's port the same backend each time", (w) => {
  assert.equal(MAGLEV_SLOTS, 4);
  table(w, 3, backends);
  w.service(vip, backends, { flags: SERVICE_FLAG.MAGLEV, table: 3 });
  const before = ask(w);
  forget(w);
  assert.deepEqual(ask(w), before);
  assert.equal(new Set(before).size, backends.length);
});

test("maglev_index() picks alike on two nodes, whatever their order of backends", (w) => {
  table(w, 0, backends);
  w.service(vip, backends, { flags: SERVICE_FLAG.MAGLEV, table: 0 });
  const before = ask(w);
  forget(w);
  const other = [...backends.slice(4), ...backends.slice(0, 4)];
  table(w, 5, other);
  w.service(vip, other, { flags: SERVICE_FLAG.MAGLEV, table: 5, id: 77 });
  assert.deepEqual(ask(w), before);
});

test("maglev_index() picks alike for clients outside, by any node's address", (w) => {
  node(w);
  table(w, 1, backends);
  w.service("0.0.0.0:30080", backends, {
    flags: SERVICE_FLAG.MAGLEV,
    table: 1,
    scope: SCOPE.EXTERNAL,
    addressEntry: false,
  });
  const askNode = (addr: string) =>
    Array.from({ length: 100 }, (_, i) => {
      const flow = { src: `${OUTSIDE}:${1000 + i}`, dst: `${addr}:30080` };
      w.run(tcp({ ...flow, flags: "S", ...IN }), "k8sd_from_uplink");
      return w.target(flow);
    });
  const before = askNode(NODE);
  w.maps.node_addrs.set({ addr: OTHER_NODE }, { flags: 1 });
  assert.deepEqual(askNode(OTHER_NODE), before);
});

test("maglev_index() moves few clients when a backend goes", (w) => {
  table(w, 0, backends);
  w.service(vip, backends, { flags: SERVICE_FLAG.MAGLEV, table: 0 });
  const before = ask(w);
  forget(w);
  const gone = backends[4]!;
  const left = backends.filter((one) => one !== gone);
  table(w, 1, left);
  w.service(vip, left, { flags: SERVICE_FLAG.MAGLEV, table: 1 });
  const after = ask(w);
  const moved = before.filter((one, i) => one !== gone && one !== after[i]).length;
  assert(moved < 40, `${moved} of 200 moved`);
});

test("client_hash() leaves out the port where a client has affinity", (w) => {
  table(w, 0, backends);
  w.service(vip, backends, { flags: SERVICE_FLAG.MAGLEV, table: 0, affinity: 100 });
  const src = (i: number) => `10.1.2.${i}`;
  const choose = () => Array.from({ length: 20 }, (_, i) => ask(w, vip, src(i))[0]);
  const before = choose();
  forget(w);
  w.maps.affinity.deleteBatch(w.maps.affinity.keys());
  assert.deepEqual(choose(), before);
  assert(new Set(before).size > 3);
});

test("backend_pick() takes any backend where the table is missing or wrong", (w) => {
  const flags = SERVICE_FLAG.MAGLEV;
  w.service(vip, backends, { flags, table: 65535 });
  w.configure({ maglev_size: SIZE });
  assert(new Set(ask(w)).size > 3, "no such table");
  forget(w);
  w.configure({ maglev_size: 0 });
  w.service(vip, backends, { flags, table: 0 });
  assert(new Set(ask(w)).size > 3, "no size");
  forget(w);
  table(w, 2, backends);
  const few = backends.slice(0, 2);
  w.service(vip, few, { flags, table: 2 });
  assert.deepEqual(new Set(ask(w)), new Set(few), "places that name no backend");
});
