/** The agent's sweep over sessions that the programs made. */
import assert from "node:assert/strict";
import { SessionSweep } from "../../src/agent/services/session_sweep.ts";
import { endSessions } from "../../src/agent/services/stale_sessions.ts";
import type { Log } from "../../src/agent/log.ts";
import { allSessions } from "../../src/bpf/sessions.ts";
import { SESSION_STATE } from "../../src/bpf/layout.ts";
import * as needs from "../support/needs.ts";
import { PROTO, tcp, udp } from "./support/packet.ts";
import { CLIENT, FROM_LOCAL, LOCAL, pods, VIP } from "./support/scene.ts";
import { World } from "./support/world.ts";

const available = needs.root();
const CAPACITY = 2048;
const world = available ? new World({ sessions: CAPACITY, assured: CAPACITY }) : undefined;
const vip = `${VIP}:80`, A = `${LOCAL}:8080`;
const proto = PROTO.UDP;

/** A sweep of the world, and what it logs. */
function prepare(w: World): { pass(): void; logged: string[] } {
  w.clear("sweep");
  pods(w);
  w.timeouts({
    tcpNew: 60,
    tcpEstablished: 432_000,
    tcpClosing: 3600,
    tcpClosed: 120,
    udp: 120,
    icmp: 120,
  });
  w.service(vip, [A]);
  w.service(vip, [A], { proto });
  const logged: string[] = [];
  const log = {
    warn: ({ event }: { event: string }, text: string) => logged.push(`${event}: ${text}`),
  };
  const nameOf = (address: string) => address === CLIENT ? "pod default/curl" : undefined;
  const sweep = new SessionSweep({ maps: w.maps, log: log as unknown as Log, nameOf });
  return { pass: () => [...sweep.pass()], logged };
}

function connect(w: World, src: string): void {
  w.run(tcp({ src, dst: vip, flags: "S" }));
  w.run(tcp({ src: A, dst: src, flags: "SA", ...FROM_LOCAL }));
  w.run(tcp({ src, dst: vip, flags: "A" }));
}

function test(name: string, fn: (w: World) => void): void {
  Deno.test({ name, ignore: !available, fn: () => fn(world!) });
}

test("SessionSweep removes both entries of what is over, and nothing that lives", (w) => {
  const { pass } = prepare(w);
  const flow = (port: number, proto: number = PROTO.TCP) => ({
    src: `${CLIENT}:${port}`,
    dst: vip,
    proto,
  });
  for (const port of [1, 2, 3, 4]) connect(w, `${CLIENT}:${port}`);
  w.run(tcp({ ...flow(2), flags: "R" }));
  w.run(tcp({ ...flow(3), flags: "FA" }));
  w.run(tcp({ ...flow(5), flags: "S" }));
  for (const port of [6, 7]) w.run(udp(flow(port)));
  pass();
  assert.equal(w.sessions().length, 2 * 7, "all are young");
  w.age(flow(2), 100);
  w.age(flow(1), 86_400);
  w.edit({ src: A, dst: flow(1).src }, { last_seen: w.session(flow(1))!.last_seen });
  pass();
  assert.equal(w.sessions().length, 2 * 7, "a port's quarantine, and an idle connection");
  w.age(flow(2), 30);
  w.age(flow(5), 70);
  w.age(flow(6, proto), 130);
  pass();
  assert.deepEqual(w.forwardSessions().map(([{ sport }]) => sport).sort(), [1, 3, 4, 7]);
  assert.equal(w.sessions().length, 2 * 4);
  assert.equal(w.maps.assured.keys().length, 2 * 3);
});

test("SessionSweep removes an assured flow that timed out, and what the programs count of it", (w) => {
  const { pass } = prepare(w);
  for (const port of [1, 2]) connect(w, `${CLIENT}:${port}`);
  const copies = w.maps.assured.entries();
  const old = (value: bigint) => BigInt.asUintN(64, value - 6n * 86_400_000_000_000n);
  for (const [key, value] of copies.filter(([{ sport, dport }]) => sport === 1 || dport === 1)) {
    w.maps.assured.set(key, { ...value, last_seen: old(value.last_seen) });
    w.maps.sessions.deleteBatch([key]);
  }
  pass();
  assert.equal(allSessions(w.maps).length, 2);
  assert.equal(w.maps.sources.get({ addr: CLIENT })?.assured, 1);
  assert.equal(w.maps.session_limits.get(0)?.assured, 1);
});

test("SessionSweep restores the count of a client with many flows", (w) => {
  const { pass } = prepare(w);
  for (let port = 1; port <= 300; port++) connect(w, `${CLIENT}:${port}`);
  w.maps.sources.deleteBatch(w.maps.sources.keys());
  pass();
  assert.equal(w.maps.sources.get({ addr: CLIENT })?.assured, 300);
});

test("SessionSweep removes copies of what transitional programs closed", (w) => {
  const { pass } = prepare(w);
  connect(w, `${CLIENT}:1`);
  w.edit({ src: `${CLIENT}:1`, dst: vip }, { state: SESSION_STATE.CLOSED });
  pass();
  assert.equal(w.maps.assured.keys().length, 0);
  assert.equal(w.sessions().length, 2);
});

test("SessionSweep reports a full table, a client at its share, and settings that help", (w) => {
  const { pass, logged } = prepare(w);
  pass();
  for (let port = 1; port <= 1010; port++) w.run(udp({ src: `${CLIENT}:${port}`, dst: vip }));
  pass();
  pass();
  assert.equal(logged.length, 1);
  assert.match(
    logged[0]!,
    /^SessionPressure: .* 9\d % full .*mapSizes\.sessions.*pod default\/curl \(10\.1\.0\.2\)/,
  );
  w.limit({ flows: 100 });
  for (let port = 2000; port <= 2200; port++) w.run(udp({ src: `${CLIENT}:${port}`, dst: vip }));
  pass();
  assert.match(logged[1]!, /^SessionShare: pod default\/curl .*shares\.sessions/);
});

test("endSessions() ends a flow to a removed backend that only `assured` has", (w) => {
  prepare(w);
  const src = `${CLIENT}:1`;
  w.run(udp({ src, dst: vip }));
  w.run(udp({ src: A, dst: src, ...FROM_LOCAL }));
  w.age({ src, dst: vip, proto }, 2);
  w.run(udp({ src, dst: vip }));
  w.maps.sessions.deleteBatch(w.maps.sessions.keys());
  assert.equal(w.maps.assured.keys().length, 2);
  endSessions(w.maps, ({ backendPort }) => backendPort === 8080);
  assert.deepEqual(allSessions(w.maps), []);
});

Deno.test("SessionSweep: nothing of the tests stays in the kernel", () => world?.close());
