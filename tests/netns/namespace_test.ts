/** Namespaces, mounts, kernel parameters and pings against the real kernel. */
import assert from "node:assert/strict";
import { isBpffs, isCgroup2, mountBpffs, umount } from "../../src/linux/mount.ts";
import {
  createNetns,
  deleteNetns,
  listNetns,
  NETNS_DIR,
  withNetns,
} from "../../src/linux/netns.ts";
import { ping } from "../../src/linux/ping.ts";
import { readSysctl, writeSysctl } from "../../src/linux/sysctl.ts";
import { mountCgroup2 } from "../support/cgroup.ts";
import { openFds } from "../support/fds.ts";
import * as needs from "../support/needs.ts";
import type { Sandbox } from "../support/sandbox.ts";
import { sandboxed } from "../support/sandboxed.ts";

const ignore = !needs.root();
const OWN = "/proc/thread-self/ns/net";

const test = sandboxed({ ignore, leaks: true }, (sandbox) => sandbox);

test("createNetns() and deleteNetns() leave no trace", () => {
  const before = openFds();
  const name = `pcnk-t-${Deno.pid}-trace`;
  const path = createNetns(name);
  try {
    assert.ok(listNetns().includes(name));
    assert.throws(() => createNetns(name), { code: "EEXIST" });
    assert.ok(listNetns().includes(name), "a refused name stays what it was");
  } finally {
    assert.equal(deleteNetns(name), true);
  }
  assert.equal(deleteNetns(name), false);
  assert.ok(!Deno.readTextFileSync("/proc/self/mounts").includes(path));
  assert.deepEqual(openFds(), before);
});

test("a namespace can be removed after the first ip netns add of a boot", async () => {
  const netns = import.meta.resolve("../../src/linux/netns.ts");
  const script = `
    import { createNetns, deleteNetns, listNetns } from "${netns}";
    createNetns("a");
    new Deno.Command("ip", { args: ["netns", "add", "b"] }).outputSync();
    deleteNetns("a");
    console.log(listNetns().join());`;
  const fresh = `mount -t tmpfs tmpfs /run && exec "$0" eval "$1"`;
  const { stdout, stderr } = await new Deno.Command("unshare", {
    args: ["--mount", "sh", "-c", fresh, Deno.execPath(), script],
  }).output();
  assert.equal(new TextDecoder().decode(stdout), "b\n", new TextDecoder().decode(stderr));
});

test("deleteNetns() removes a file that a crash left behind", () => {
  const name = `pcnk-t-${Deno.pid}-crash`;
  Deno.mkdirSync(NETNS_DIR, { recursive: true });
  Deno.writeTextFileSync(`${NETNS_DIR}/${name}`, "");
  assert.equal(deleteNetns(name), true);
  assert.ok(!listNetns().includes(name));
});

test("withNetns() comes back, also after an error", (sandbox) => {
  const home = Deno.readLinkSync(OWN);
  const { path } = sandbox.netns();
  const inside = withNetns(path, () => Deno.readLinkSync(OWN));
  assert.notEqual(inside, home);
  assert.equal(Deno.readLinkSync(OWN), home);
  assert.throws(() =>
    withNetns(path, () => {
      throw new Error("inside");
    }), /inside/);
  assert.throws(() => withNetns("/proc/self/ns/uts", () => {}), { code: "EINVAL" });
  assert.throws(() => withNetns("/run/netns/pcnk-t-none", () => {}), { code: "ENOENT" });
  assert.equal(Deno.readLinkSync(OWN), home);
});

test("withNetns() refuses an async function", (sandbox) => {
  const { path } = sandbox.netns();
  assert.throws(() => withNetns(path, () => Promise.resolve()), TypeError);
});

test("mountBpffs() and mountCgroup2() mount what isBpffs() and isCgroup2() know", (sandbox) => {
  const folder = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
  sandbox.defer(() => Deno.removeSync(folder, { recursive: true }));
  assert.deepEqual([isBpffs(folder), isCgroup2(folder), isBpffs(`${folder}/none`)], [
    false,
    false,
    false,
  ]);
  for (const [mount, check] of [[mountBpffs, isBpffs], [mountCgroup2, isCgroup2]] as const) {
    const path = `${folder}/deep/${mount.name}`;
    if (mount === mountCgroup2) Deno.mkdirSync(path);
    mount(path);
    try {
      assert.equal(check(path), true);
      if (mount === mountBpffs) assert.equal(Deno.statSync(path).mode! & 0o777, 0o700);
    } finally {
      assert.equal(umount(path), true);
    }
    assert.equal(umount(path), false);
  }
});

test("writeSysctl() writes in the namespace that is meant", (sandbox) => {
  const [a, b] = [sandbox.netns(), sandbox.netns()];
  writeSysctl("net.ipv4.ip_forward", "1", a.path);
  writeSysctl("net.ipv4.ip_forward", "0", b.path);
  assert.equal(readSysctl("net.ipv4.ip_forward", a.path), "1");
  assert.equal(readSysctl("net.ipv4.ip_forward", b.path), "0");
  a.nl.addLink({ kind: "bridge", name: "br.7" });
  writeSysctl("net/ipv4/conf/br.7/rp_filter", "2", a.path);
  assert.equal(readSysctl("net/ipv4/conf/br.7/rp_filter", a.path), "2");
  assert.throws(() => writeSysctl("net.ipv4.none", "1", a.path), { code: "ENOENT" });
  assert.throws(() => writeSysctl("net.ipv4.ip_forward", "x", a.path), { code: "EINVAL" });
});

function addressed(sandbox: Sandbox) {
  const [a, b] = [sandbox.netns(), sandbox.netns()];
  const [inA, inB] = sandbox.veth(a, b);
  a.nl.addAddr({ ifindex: inA, address: "10.0.0.1", prefixLength: 24 });
  b.nl.addAddr({ ifindex: inB, address: "10.0.0.2", prefixLength: 24 });
  return { a, b };
}

test("ping() measures a round trip", async (sandbox) => {
  const { a } = addressed(sandbox);
  const before = openFds();
  const result = await ping({
    address: "10.0.0.2",
    netnsPath: a.path,
    size: 100,
    source: "10.0.0.1",
  });
  assert.ok(result.ok, JSON.stringify(result));
  assert.equal(result.from, "10.0.0.2");
  assert.equal(result.bytes, 100);
  assert.ok(result.rttMs > 0 && result.rttMs < 1000);
  assert.deepEqual(openFds(), before);
});

test("ping() tells why there is no answer", async (sandbox) => {
  const { a, b } = addressed(sandbox);
  const from = (address: string, options = {}) =>
    ping({ address, netnsPath: a.path, timeoutMs: 30, ...options });
  assert.deepEqual(await from("192.0.2.1"), { ok: false, reason: "network is unreachable" });
  a.nl.addRoute({ destination: "0.0.0.0/0", gateway: "10.0.0.2" });
  assert.deepEqual(await from("192.0.2.1"), { ok: false, reason: "timeout" });
  writeSysctl("net.ipv4.ip_forward", "1", b.path);
  assert.deepEqual(await from("192.0.2.1", { timeoutMs: 2000 }), {
    ok: false,
    reason: "network unreachable",
    from: "10.0.0.2",
  });
  b.nl.addRoute({ destination: "192.0.2.0/24", type: "prohibit" });
  const refused = await from("192.0.2.1", { timeoutMs: 2000 });
  assert.equal(!refused.ok && refused.reason, "administratively prohibited");
  const big = await from("10.0.0.2", { size: 2000, dontFragment: true });
  assert.deepEqual(big, { ok: false, reason: "message too long" });
});
