/** Installing and upgrading the data plane in place on the real kernel. */
import assert from "node:assert/strict";
import { attach, attachPinned, isAttached } from "../../src/bpf/attach.ts";
import { NotInstalledError, openDataPlane } from "../../src/bpf/dataplane.ts";
import { installDataPlane, type InstallOptions } from "../../src/bpf/install.ts";
import { type MapName, maps, queues } from "../../src/bpf/layout.ts";
import { SCHEMA_MAP } from "../../src/bpf/map_versions.ts";
import { ensureHeaderless } from "../../src/bpf/headerless.ts";
import { MapMismatchError } from "../../src/bpf/map.ts";
import { MigrationError } from "../../src/bpf/migrate.ts";
import { LoadError } from "../../src/bpf/object.ts";
import {
  dataPlaneReady,
  DISPATCHER_PROGRAMS,
  hasPin,
  HEADERLESS_PROGRAMS,
  listPins,
  mapPin,
  programPin,
  PROGRAMS,
  removePin,
} from "../../src/bpf/pins.ts";
import { testRun } from "../../src/bpf/testrun.ts";
import { isBpffs, umount } from "../../src/linux/mount.ts";
import { CLANG, compile, twoPrograms } from "../support/clang.ts";
import { fillFds, openFds, withFdLimit } from "../support/fds.ts";
import * as needs from "../support/needs.ts";
import { Sandbox } from "../support/sandbox.ts";
import { sandboxed } from "../support/sandboxed.ts";

const ignore = !(needs.root() && needs.file(CLANG));

const mapSizes: Record<string, number> = {
  services: 100,
  backends: 100,
  sessions: 100,
  endpoints: 10,
  fragments: 10,
};
const object = ignore ? new Uint8Array() : compile(twoPrograms(1));

/** Pins of an installed data plane. */
const PINNED = [...Object.keys({ ...maps, ...queues }), SCHEMA_MAP].sort();

const test = sandboxed({ ignore }, (sandbox) => {
  const netns = sandbox.netns();
  const bpffs = `${sandbox.bpffs()}/node`;
  const options: InstallOptions = { bpffs, nl: netns.nl, object, mapSizes };
  return { sandbox, netns, bpffs, options };
});

const pod = { ifindex: 3, mac: "02:00:00:00:00:01", gateway: "10.0.0.1" };
const podKey = (i: number) => ({ addr: `10.0.0.${i}` });

test("installDataPlane() pins maps and programs for root only, and is ready", ({ bpffs, options }) => {
  assert.throws(() => openDataPlane(bpffs), NotInstalledError);
  assert.equal(dataPlaneReady(bpffs), false);
  using dataPlane = installDataPlane(options);
  assert.equal(dataPlaneReady(bpffs), true);
  assert.deepEqual(listPins(`${bpffs}/map`).sort(), PINNED);
  assert.deepEqual(listPins(`${bpffs}/prog`).sort(), [...PROGRAMS].sort());
  for (const directory of [bpffs, `${bpffs}/map`, `${bpffs}/prog`, `${bpffs}/link`]) {
    assert.equal(Deno.statSync(directory).mode! & 0o777, 0o700, directory);
  }
  for (const pin of [mapPin(bpffs, "config"), programPin(bpffs, PROGRAMS[0])]) {
    assert.equal(Deno.statSync(pin).mode! & 0o777, 0o600, pin);
  }
  assert.equal(dataPlane.maps.services.maxEntries, 100);
  assert.equal(dataPlane.maps.counters.get(0)!.length > 0, true);
  assert.equal(testRun(dataPlane.programFd("lbrp_from_pod"), new Uint8Array(60)).mark >> 8, 1);
});

test("installDataPlane() mounts a bpffs where there is none", ({ sandbox, options }) => {
  const folder = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
  sandbox.defer(() => Deno.removeSync(folder, { recursive: true }));
  const bpffs = `${folder}/deep/bpf`;
  try {
    installDataPlane({ ...options, bpffs }).close();
    assert.equal(isBpffs(bpffs), true);
    assert.equal(Deno.statSync(bpffs).mode! & 0o777, 0o700);
    installDataPlane({ ...options, bpffs }).close();
  } finally {
    assert.equal(umount(bpffs), true, "mounted once");
  }
  assert.equal(umount(bpffs), false);
});

test("installDataPlane() takes no directory that others may write to", ({ options, bpffs }) => {
  const refused = (path: string, why: RegExp) => {
    assert.throws(() => installDataPlane(options), (error: Error) => {
      assert.match(error.message, why);
      assert.ok(error.message.includes(path), error.message);
      return true;
    });
  };
  Deno.mkdirSync(bpffs, { mode: 0o700 });
  for (const path of [bpffs, `${bpffs}/map`, `${bpffs}/prog`, `${bpffs}/link`]) {
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    Deno.chownSync(path, 1234, 0);
    refused(path, /belongs to user 1234.*chown -h root/);
    Deno.chownSync(path, 0, 0);
    for (const mode of [0o777, 0o720, 0o702]) {
      Deno.chmodSync(path, mode);
      refused(path, /may write.*chmod 700/);
    }
    Deno.chmodSync(path, 0o700);
  }
  // As the kernel makes the root of a bpffs: others may add to it, and take nothing away.
  Deno.chmodSync(bpffs, 0o1777);
  installDataPlane(options).close();
});

test("installDataPlane() leaks no descriptor when there are no more", ({ options, bpffs }) => {
  installDataPlane(options).close();
  const resized = { ...options, mapSizes: { ...mapSizes, services: 50, endpoints: 20 } };
  using fillers = fillFds();
  const before = openFds();
  let failures = 0;
  for (let spare = 1;; spare++) {
    assert(spare < 200, "does not come to an end");
    try {
      withFdLimit(fillers.highest + spare, () => installDataPlane(resized).close());
      break;
    } catch (error) {
      failures++;
      assert.deepEqual(openFds(), before, `with ${spare} to spare: ${error}`);
    }
  }
  assert(failures > 10, `${failures} failures`);
  assert.equal(dataPlaneReady(bpffs), true);
});

test("installDataPlane() again replaces programs in place and keeps entries", (scene) => {
  const { options, bpffs, netns: { nl } } = scene;
  nl.addLink({ kind: "veth", name: "v0", up: true, peer: { name: "v1" } });
  const hook = { bpffs, nl, ifindex: nl.link("v0")!.index, direction: "ingress" } as const;
  const name = "lbrp_from_pod";
  {
    using first = installDataPlane(options);
    first.maps.endpoints.set(podKey(1), pod);
    attach({ ...hook, programFd: first.programFd(name), name, mode: "clsact" });
  }
  const old = isAttached(hook)!.progId;
  const log: string[] = [];
  using second = installDataPlane({
    ...options,
    object: compile(twoPrograms(2)),
    log: (text) => log.push(text),
  });
  assert.deepEqual(second.maps.endpoints.entries(), [[podKey(1), pod]]);
  assert.equal(testRun(second.programFd(name), new Uint8Array(60)).mark >> 8, 2);
  assert.ok(isAttached({ ...hook, programFd: second.programFd(name) }));
  assert.notEqual(isAttached(hook)!.progId, old);
  assert.deepEqual(log, ["programs replaced in 1 attachments"]);
});

test("installDataPlane() carries entries over into maps of another capacity", (scene) => {
  const { options, bpffs } = scene;
  const session = { src: "10.0.0.2", dst: "10.0.0.3", sport: 1, dport: 2, proto: 6, zone: 0 };
  const value = {
    ...{ last_seen: 7n, src: "10.0.0.4", dst: "10.0.0.5", sport: 3, dport: 4 },
    ...{ service_id: 9, state: 1, flags: 0, ifindex: 0, created: 5n },
    ...{ tcp: 1, seq_end: 5, seq_run: 6, ack: 7, asked: 8 },
  };
  const backend = { addr: "10.0.0.9", port: 80, flags: 0, weight_end: 5 };
  const count = [{ packets: 5n, bytes: 6n }];
  {
    using first = installDataPlane(options);
    first.maps.endpoints.setBatch([1, 2, 3].map((i) => [podKey(i), pod] as const));
    first.maps.sessions.set(session, value);
    first.maps.backends.set(49, backend);
    const cpus = first.maps.counters.get(0)!.length;
    first.maps.counters.set(5, Array.from({ length: cpus }, () => count[0]!));
  }
  for (const [endpoints, backends, sessions] of [[20, 200, 200], [3, 50, 40]] as const) {
    const log: string[] = [];
    const sizes = { ...mapSizes, endpoints, backends, sessions };
    using next = installDataPlane({ ...options, mapSizes: sizes, log: (text) => log.push(text) });
    assert.equal(log.filter((line) => line.includes("capacity")).length, 3, log.join("\n"));
    assert.equal(next.maps.endpoints.maxEntries, endpoints);
    assert.equal(next.maps.endpoints.entries().length, 3);
    assert.deepEqual(next.maps.endpoints.get(podKey(2)), pod);
    assert.deepEqual(next.maps.sessions.get(session), value);
    assert.equal(next.maps.backends.maxEntries, backends);
    assert.deepEqual(next.maps.backends.get(49), backend);
    assert.deepEqual(next.maps.counters.get(5)![0], count[0]);
    const program = next.programFd("lbrp_from_pod");
    const before = next.maps.counters.get(0)!.reduce((sum, { packets }) => sum + packets, 0n);
    testRun(program, new Uint8Array(60));
    const after = next.maps.counters.get(0)!.reduce((sum, { packets }) => sum + packets, 0n);
    assert.equal(after - before, 1n, "the programs use the map that is pinned");
  }
  assert.deepEqual(listPins(`${bpffs}/map`).sort(), PINNED);
});

test("installDataPlane() carries over what is written to the old map meanwhile", (scene) => {
  const { options, netns: { nl } } = scene;
  using first = installDataPlane(options);
  const { endpoints, sessions } = first.maps;
  endpoints.setBatch([1, 2, 3].map((i) => [podKey(i), pod] as const));
  const key = { src: "10.0.0.2", dst: "10.0.0.3", sport: 1, dport: 2, proto: 6, zone: 0 };
  const value = {
    ...{ last_seen: 7n, src: "10.0.0.4", dst: "10.0.0.5", sport: 3, dport: 4 },
    ...{ service_id: 9, state: 1, flags: 0, ifindex: 0, created: 5n },
    ...{ tcp: 1, seq_end: 5, seq_run: 6, ack: 7, asked: 8 },
  };
  const changed = { ...pod, ifindex: 99 };
  // The programs are replaced after the copy; this is when the others go on writing.
  const busy = Object.create(nl, {
    listClsact: {
      value: () => {
        endpoints.set(podKey(4), pod);
        endpoints.set(podKey(2), changed);
        endpoints.delete(podKey(1));
        sessions.set(key, value);
        return nl.listClsact();
      },
    },
  });
  const sizes = { ...mapSizes, endpoints: 20, sessions: 200 };
  using second = installDataPlane({ ...options, nl: busy, mapSizes: sizes });
  assert.notEqual(second.maps.endpoints.id, endpoints.id);
  assert.equal(second.maps.endpoints.get(podKey(1)), undefined);
  assert.deepEqual(second.maps.endpoints.get(podKey(2)), changed);
  assert.deepEqual(second.maps.endpoints.get(podKey(4)), pod);
  assert.deepEqual(second.maps.sessions.get(key), value);
});

test("installDataPlane() keeps the capacity of maps whose size is not given", ({ options }) => {
  installDataPlane(options).close();
  using second = installDataPlane({ ...options, mapSizes: {} });
  for (const [name, size] of Object.entries(mapSizes)) {
    assert.equal(second.maps[name as MapName].maxEntries, size);
  }
});

test("installDataPlane() refuses sizes that entries do not fit into, and changes nothing", (scene) => {
  const { options, bpffs } = scene;
  using first = installDataPlane(options);
  first.maps.endpoints.setBatch([1, 2, 3].map((i) => [podKey(i), pod] as const));
  first.maps.backends.set(70, { addr: "10.0.0.9", port: 80, flags: 0, weight_end: 5 });
  const program = testRun(first.programFd("lbrp_from_pod"), new Uint8Array(60)).mark >> 8;
  for (
    const [sizes, message] of [
      [{ endpoints: 2 }, /map endpoints has 3 entries, too many for 2/],
      [{ backends: 70 }, /map backends uses element 70, too many for 70/],
    ] as const
  ) {
    assert.throws(
      () => installDataPlane({ ...options, mapSizes: { ...mapSizes, ...sizes } }),
      (error: Error) => error instanceof MigrationError && message.test(error.message),
    );
  }
  using after = openDataPlane(bpffs);
  assert.equal(after.maps.endpoints.id, first.maps.endpoints.id);
  assert.equal(testRun(after.programFd("lbrp_from_pod"), new Uint8Array(60)).mark >> 8, program);
  assert.deepEqual(listPins(`${bpffs}/map`).sort(), PINNED);
});

test("installDataPlane() of a refused or foreign object leaves the old one at work", (scene) => {
  const { options, bpffs } = scene;
  using first = installDataPlane(options);
  first.maps.endpoints.set(podKey(1), pod);
  const broken = twoPrograms(2).replace("skb->mark = mark;", "skb->mark = *(__u32 *)(long)mark;");
  assert.throws(() => installDataPlane({ ...options, object: compile(broken) }), LoadError);
  const other = compile(twoPrograms(2), (types) => types.replace("__u32 first;", "__u64 first;"));
  assert.throws(() => installDataPlane({ ...options, object: other }), MapMismatchError);
  using after = openDataPlane(bpffs);
  assert.equal(testRun(after.programFd("lbrp_from_pod"), new Uint8Array(60)).mark >> 8, 1);
  assert.deepEqual(after.maps.endpoints.entries(), [[podKey(1), pod]]);
});

test("installDataPlane() names a pinned map that another version made", (scene) => {
  const { options, bpffs } = scene;
  installDataPlane(options).close();
  // As if the pinned maps came from a version with a smaller struct.
  Deno.removeSync(mapPin(bpffs, "services"));
  Deno.renameSync(mapPin(bpffs, "endpoints"), mapPin(bpffs, "services"));
  assert.throws(
    () => installDataPlane({ ...options, mapSizes: {} }),
    (error: Error) =>
      error instanceof MapMismatchError && error.message.includes(mapPin(bpffs, "services")) &&
      error.message.includes("size of keys: 4, expected 8"),
  );
});

test("installDataPlane() clears what an install that was killed left", ({ options, bpffs }) => {
  installDataPlane(options).close();
  Deno.renameSync(mapPin(bpffs, "config"), `${mapPin(bpffs, "config")}~new`);
  Deno.renameSync(programPin(bpffs, PROGRAMS[0]), `${programPin(bpffs, PROGRAMS[0])}~new`);
  assert.equal(dataPlaneReady(bpffs), false);
  installDataPlane(options).close();
  assert.equal(dataPlaneReady(bpffs), true);
  assert.deepEqual(listPins(`${bpffs}/map`).sort(), PINNED);
  assert.deepEqual(listPins(`${bpffs}/prog`).sort(), [...PROGRAMS].sort());
});

const built = new URL("../../dist/artifacts/lbrp.bpf.o", import.meta.url).pathname;

Deno.test({
  name: "installDataPlane() installs lbrp and k8sdispatcher, with the sizes of the headers",
  ignore: !(needs.root() && needs.file(built)),
  fn() {
    using sandbox = new Sandbox();
    const bpffs = sandbox.bpffs();
    using dataPlane = installDataPlane({ bpffs, nl: sandbox.netns().nl });
    assert.ok(dataPlane.maps.services.maxEntries >= 20_000);
    assert.ok(dataPlane.maps.backends.maxEntries >= 250_000);
    const all = [...PROGRAMS, ...DISPATCHER_PROGRAMS, ...HEADERLESS_PROGRAMS];
    ensureHeaderless(bpffs, HEADERLESS_PROGRAMS[0]);
    for (const name of all) assert.ok(dataPlane.programFd(name) > 0);
    // replaceAll() tells programs of links apart by what the kernel keeps of their names.
    const kept = all.map((name) => name.slice(0, 15));
    assert.equal(new Set(kept).size, kept.length);
  },
});

Deno.test({
  name: "installDataPlane() renews the programs for uplinks without Ethernet header where one is",
  ignore: !(needs.root() && needs.file(built)),
  fn() {
    using sandbox = new Sandbox();
    const bpffs = sandbox.bpffs();
    const { nl } = sandbox.netns();
    const pins = HEADERLESS_PROGRAMS.map((name) => programPin(bpffs, name));
    const pinned = () => pins.map(hasPin);
    const installed = () => installDataPlane({ bpffs, nl });
    installed().close();
    assert.deepEqual(pinned(), [false, false]);
    for (const name of [...PROGRAMS, ...HEADERLESS_PROGRAMS]) ensureHeaderless(bpffs, name);
    assert.deepEqual(pinned(), [true, true]);
    // None is attached: these would be a former version's for the next uplink.
    installed().close();
    assert.deepEqual(pinned(), [false, false]);
    const [name] = HEADERLESS_PROGRAMS;
    ensureHeaderless(bpffs, name);
    nl.addLink({ kind: "bridge", name: "uplink0" });
    const ifindex = nl.link("uplink0")!.index;
    const hook = { bpffs, nl, ifindex, direction: "ingress" } as const;
    const former = attachPinned({ ...hook, name, mode: "clsact" }).progId;
    for (const pin of pins) removePin(pin); // and found again
    using dataPlane = installed();
    assert.deepEqual(pinned(), [true, true]);
    const attached = isAttached({ ...hook, programFd: dataPlane.programFd(name) });
    assert.notEqual(attached?.progId ?? former, former);
  },
});
