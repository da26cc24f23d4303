/**
 * `pcnk get` against maps that were written behind everybody's back: no agent runs, nothing but the kernel tells. Each test
 * calls the built executable.
 */
import assert from "node:assert/strict";
import type { DataPlane } from "../../src/bpf/dataplane.ts";
import {
  NAME_KIND,
  REMOTE_MODE,
  SCOPE,
  SERVICE_FLAG,
  SESSION_FLAG,
  SESSION_STATE,
} from "../../src/bpf/layout.ts";
import { monotonicNow } from "../../src/linux/clock.ts";
import { parseIpv4 } from "../../src/net/ipv4.ts";
import { writeAttachment } from "../../src/node/attachments_support.ts";
import { linesOf } from "../support/lines.ts";
import * as needs from "../support/needs.ts";
import { pcnk } from "../support/pcnk.ts";
import { Sandbox } from "../support/sandbox.ts";
import { sharedPlane } from "./support/shared_plane.ts";

interface Scene {
  plane: DataPlane;
  /** The command that runs `pcnk get ARGS` on the node. */
  command(...args: string[]): Deno.Command;
  get(...args: string[]): Promise<{ code: number; out: string; err: string }>;
}

function test(name: string, fn: (scene: Scene) => Promise<void>): void {
  Deno.test({
    name,
    ignore: !needs.root(),
    async fn() {
      using sandbox = new Sandbox();
      const netns = sandbox.netns();
      const stateDir = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
      sandbox.defer(() => Deno.removeSync(stateDir, { recursive: true }));
      using plane = sharedPlane({ nl: netns.nl, mapSizes: { sessions: 1024 } });
      writeAttachment(stateDir, { pod: "default/web-1" });
      fill(plane);
      const command = (...args: string[]) =>
        new Deno.Command("ip", {
          args: ["netns", "exec", netns.name, ...pcnk, "get", ...args],
          env: { PCNK_BPFFS: plane.bpffs, PCNK_STATE_DIR: stateDir },
          stdout: "piped",
          stderr: "piped",
        });
      const get = async (...args: string[]) => {
        const { code, stdout, stderr } = await command(...args).output();
        const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
        return { code, out: text(stdout), err: text(stderr) };
      };
      await fn({ plane, command, get });
    },
  });
}

/** Two Services, three backends on two nodes, a session of each kind. */
function fill({ maps }: DataPlane): void {
  const name = (kind: number, id: number, text: string) => maps.names.set({ kind, id }, { text });
  name(NAME_KIND.SERVICE_PORT, 1, "default/web:80/TCP");
  name(NAME_KIND.SERVICE_PORT, 2, "kube-system/dns:53/UDP");
  name(NAME_KIND.NODE, parseIpv4("192.168.0.12"), "node2");
  const backend = (at: number, addr: string, weight_end: number, flags = 0) =>
    maps.backends.set(at, { addr, port: 8080, flags, weight_end });
  backend(0, "10.1.0.2", 3);
  backend(1, "10.2.0.2", 4, 1);
  backend(2, "10.2.0.3", 0);
  const web = {
    id: 1,
    first: 0,
    count: 2,
    total_weight: 4,
    affinity_seconds: 0,
    flags: 0,
    table: 0,
  };
  const inside = { addr: "10.96.0.1", port: 80, proto: 6, scope: SCOPE.CLUSTER };
  maps.services.set(inside, web);
  maps.services.set({ ...inside, port: 0, proto: 0 }, {
    ...web,
    count: 0,
    flags: SERVICE_FLAG.ADDRESS,
  });
  for (const scope of [SCOPE.CLUSTER, SCOPE.EXTERNAL]) {
    maps.services.set({ addr: "0.0.0.0", port: 30080, proto: 6, scope }, web);
  }
  const dns = { ...web, id: 2, first: 2, count: 1, total_weight: 0, affinity_seconds: 60 };
  maps.services.set({ ...inside, addr: "10.96.0.10", port: 53, proto: 17 }, dns);
  maps.endpoints.set({ addr: "10.1.0.2" }, {
    ifindex: 1,
    mac: "02:00:00:00:00:02",
    gateway: "10.1.0.1",
  });
  maps.remotes.set({ prefixlen: 24, addr: "10.2.0.0" }, {
    via: "192.168.0.12",
    ifindex: 1,
    vni: 42,
    mtu: 1450,
    mode: REMOTE_MODE.OVERLAY,
    mac: "02:70:c0:a8:00:0c",
  });
  fillSessions(maps);
}

function fillSessions(maps: DataPlane["maps"]): void {
  maps.config.set(0, { ...maps.config.get(0)!, tcp_established_timeout: 600_000_000_000n });
  const now = monotonicNow();
  const key = { src: "10.1.0.2", dst: "10.96.0.1", sport: 40000, dport: 80, proto: 6, zone: 0 };
  const value = {
    last_seen: now - 5_000_000_000n,
    src: "10.1.0.2",
    dst: "10.2.0.2",
    sport: 40000,
    dport: 8080,
    service_id: 1,
    state: SESSION_STATE.ESTABLISHED,
    flags: 0,
    ifindex: 0,
    created: now - 90_000_000_000n,
    ...{ tcp: 0, seq_end: 0, seq_run: 0, ack: 0, asked: 0 },
  };
  maps.sessions.set(key, value);
  const reply = { ...key, src: "10.2.0.2", dst: "10.1.0.2", sport: 8080, dport: 40000 };
  maps.sessions.set(reply, { ...value, flags: SESSION_FLAG.REPLY });
  maps.sessions.set({ ...key, sport: 40001 }, { ...value, last_seen: now - 700_000_000_000n });
  maps.sessions.set({ ...key, dst: "198.51.100.1", dport: 443, zone: 1 }, {
    ...value,
    src: "192.168.0.11",
    dst: "198.51.100.1",
    sport: 2000,
    dport: 443,
    service_id: 0,
    flags: SESSION_FLAG.MASQUERADE,
    created: 0n,
  });
}

test("get services joins what is the same from inside and outside, and leaves address entries out", async ({ get }) => {
  assert.deepEqual(await get("services"), {
    code: 0,
    err: "",
    out: `\
NAMESPACE    NAME  PORT    FRONTEND       FROM      BACKENDS
default      web   80/TCP  10.96.0.1:80   inside    2
default      web   80/TCP  *:30080        anywhere  2
kube-system  dns   53/UDP  10.96.0.10:53  inside    1
`,
  });
  assert.equal(
    (await get("svc", "-n", "kube-system", "-o", "wide", "--no-headers")).out,
    "kube-system  dns   53/UDP  10.96.0.10:53  inside  1         random     60s       no     all      2\n",
  );
});

test("get backends tells weight, state, pod and node", async ({ get }) => {
  assert.equal(
    (await get("backends", "web", "-o", "wide")).out,
    `\
NAMESPACE  NAME  PORT    BACKEND        NODE       POD            STATE        WEIGHT  FROM
default    web   80/TCP  10.1.0.2:8080  this node  default/web-1  serving      3       anywhere
default    web   80/TCP  10.2.0.2:8080  node2      -              terminating  1       anywhere
`,
  );
  assert.equal(
    (await get("backends", "--pod", "default/web-1", "-o", "name")).out,
    "backends/default/web\n",
  );
});

test("get sessions shows flows that live, and all when asked; snat those with another source", async ({ get }) => {
  // A busy machine takes some of the seconds.
  const steady = (text: string) => text.replace(/\b[5-9]s/g, "5s").replace(/\b9\ds/g, "90s");
  assert.equal(
    steady((await get("sessions")).out),
    `\
PROTO  CLIENT          TO                BACKEND        AS                 STATE        IDLE  AGE
TCP    10.1.0.2:40000  10.96.0.1:80      10.2.0.2:8080  -                  established  5s    90s
TCP    10.1.0.2:40000  198.51.100.1:443  -              192.168.0.11:2000  established  5s    -
`,
  );
  const all = JSON.parse(
    (await get("sessions", "--all", "--service", "default/web", "-o", "json")).out,
  );
  assert.deepEqual(
    all.items.map(({ client, expired, pod }: Record<string, unknown>) => ({
      client,
      expired,
      pod,
    })),
    [
      { client: "10.1.0.2:40000", expired: false, pod: "default/web-1" },
      { client: "10.1.0.2:40001", expired: true, pod: "default/web-1" },
    ],
  );
  assert.match(
    (await get("snat", "--no-headers")).out,
    /^TCP {4}192\.168\.0\.11:2000 .* masquerade {2}[5-9]s\n$/,
  );
});

test("get endpoints, nodes, counters and maps read the kernel", async ({ get, plane }) => {
  assert.match((await get("endpoints")).out, /\n10\.1\.0\.2 {2}default\/web-1 {2}lo {6}no\n$/);
  assert.match(
    (await get("nodes")).out,
    /\nnode2 {2}10\.2\.0\.0\/24 {2}overlay {2}192\.168\.0\.12 {2}lo {6}1450\n$/,
  );
  assert.deepEqual(await get("counters"), { code: 0, out: "", err: "no counters found\n" });
  const cpus = plane.maps.counters.get(1)!.map((_, cpu) => ({
    packets: BigInt(cpu + 1),
    bytes: 64n,
  }));
  plane.maps.counters.set(1, cpus);
  const sum = cpus.reduce((all, { packets }) => all + packets, 0n);
  assert.match(
    (await get("counters")).out,
    new RegExp(`\\npass_truncated  pass  ${sum}  `.replaceAll("  ", " +")),
  );
  const { items } = JSON.parse((await get("maps", "services", "sessions", "-o", "json")).out);
  assert.deepEqual(items, [
    { name: "services", entries: 5, capacity: 65536, whenFull: "refuses" },
    { name: "sessions", entries: 4, capacity: 1024, whenFull: "oldest goes" },
  ]);
});

test("get says what is wrong with the call, and what is not there", async ({ get }) => {
  const wrong = await get("sevices");
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /Did you mean services\?/);
  const none = await get("services", "--bpffs", "/nowhere");
  assert.deepEqual([none.code, none.out], [1, ""]);
  assert.match(none.err, /^pcnk: no data plane is installed at \/nowhere/);
  assert.deepEqual(await get("services", "nobody"), {
    code: 1,
    out: "",
    err: "no services found\n",
  });
});

test("get --watch tells what comes, changes and goes", async ({ command, plane }) => {
  const child = command("services", "-w", "-o", "json", "--interval", "0.1").spawn();
  const lines = linesOf(child.stdout);
  const next = async (): Promise<{ type: string; row: { service: string; backends: number } }> => {
    const { value } = await lines.next();
    return JSON.parse(value ?? "the watch ended");
  };
  try {
    for (let i = 0; i < 3; i++) assert.equal((await next()).type, "added");
    const dns = { addr: "10.96.0.10", port: 53, proto: 17, scope: SCOPE.CLUSTER };
    plane.maps.services.set(dns, { ...plane.maps.services.get(dns)!, count: 0 });
    const changed = await next();
    assert.deepEqual([changed.type, changed.row.service, changed.row.backends], [
      "changed",
      "dns",
      0,
    ]);
    plane.maps.services.delete(dns);
    assert.equal((await next()).type, "removed");
    child.kill("SIGINT");
    // Nothing was wrong: the watch ends by its signal.
    assert.equal((await child.status).code, 0);
  } finally {
    await lines.return();
    await child.stderr.cancel();
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await child.status;
  }
});
