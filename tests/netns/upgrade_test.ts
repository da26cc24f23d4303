/**
 * Upgrades from release 0.1.0, whose sessions have another layout: under load, killed at every step, short of memory; and
 * what becomes of pods that are added meanwhile, of maps that the agent fills, and of a downgrade.
 */
import assert from "node:assert/strict";
import { listAttachments } from "../../src/bpf/attach.ts";
import { u32 } from "../../src/bpf/codec.ts";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { FORMER_LAYOUTS } from "../../src/bpf/former_layouts.ts";
import { installDataPlane, type InstallStep, prepareDataPlane } from "../../src/bpf/install.ts";
import { type Session, type SessionKey } from "../../src/bpf/layout.ts";
import { BpfMap, MapMismatchError } from "../../src/bpf/map.ts";
import { MapVersions, pinnedVersions, SCHEMA_MAP } from "../../src/bpf/map_versions.ts";
import { LoadError, loadObject } from "../../src/bpf/object.ts";
import { listPins, mapPin, programPin } from "../../src/bpf/pins.ts";
import { SchemaError, SCHEMAS } from "../../src/bpf/schema.ts";
import { objGet, progInfo } from "../../src/bpf/syscall.ts";
import { closeFd } from "../../src/linux/libc.ts";
import { formerObject, installFormer, installSessions2 } from "../support/former.ts";
import { openFds } from "../support/fds.ts";
import * as needs from "../support/needs.ts";
import { Sandbox } from "../support/sandbox.ts";
import { CniWorld } from "./cni/world.ts";
import type { ClusterNode } from "./dispatcher/cluster.ts";
import { LoadedCluster } from "./upgrade/load.ts";

const ready = needs.root() && needs.file("dist/artifacts/lbrp_converting.bpf.o") &&
  needs.file("/usr/bin/python3");
const KILLED = new URL("upgrade/killed_install.ts", import.meta.url).pathname;

const STEPS: InstallStep[] = [
  "copy",
  "pin maps",
  "pin transitional programs",
  "attach transitional programs",
  "fill",
  "commit",
  "forget the former table",
  "pin programs",
  "attach programs",
  "finish",
];

const optionsOf = ({ bpffs, self: { nl } }: ClusterNode) => ({ bpffs, nl });

/** Every program of a node is the pinned one, and nothing of a conversion is left. */
function assertSteady(node: ClusterNode): void {
  const { bpffs, self: { nl } } = node;
  const pinned = new Map(
    listPins(`${bpffs}/prog`).map((name) => {
      const fd = objGet(programPin(bpffs, name));
      try {
        return [name.slice(0, 15), progInfo(fd).id];
      } finally {
        closeFd(fd);
      }
    }),
  );
  for (const { name, progId } of listAttachments({ bpffs, nl })) {
    assert.equal(pinned.get(name.slice(0, 15)), progId, name);
  }
  assertNothingLeft(node);
  assert.equal(pinnedVersions(bpffs).find(({ name }) => name === "sessions")?.version, 3);
  using versions = BpfMap.openPinned(mapPin(bpffs, SCHEMA_MAP), u32, u32);
  const ids = new Set(pinnedVersions(bpffs).map(({ id }) => id));
  const left = versions.keys().filter((id) => !ids.has(id));
  assert.deepEqual(left, [], "what was made on the way is forgotten");
}

function assertNothingLeft({ bpffs }: ClusterNode): void {
  assert.deepEqual(listPins(`${bpffs}/map`).filter((name) => /~|conversion/.test(name)), []);
}

/** What flows become, without what changes while they live. */
function translations(entries: [SessionKey, Partial<Session>][]): Map<string, string> {
  return new Map(
    entries.map((
      [key, { src, dst, sport, dport }],
    ) => [JSON.stringify(key), JSON.stringify({ src, dst, sport, dport })]),
  );
}

const formers = [
  ["release 0.1.0", 1, "tcx", installFormer],
  ["sessions 2", 2, "clsact", installSessions2],
] as const;
for (const [former, version, mode, install] of formers) {
  Deno.test({
    name: `an upgrade from ${former} loses no packet and moves no session (${mode})`,
    ignore: !ready || (mode === "tcx" && !needs.kernel(6, 6)),
    async fn() {
      await using loaded = await LoadedCluster.start({
        mode,
        routing: mode === "tcx" ? "overlay" : "direct",
        install,
      });
      let found = 0;
      for (const node of loaded.cluster.nodes) {
        const { key, value } = FORMER_LAYOUTS.sessions![version]!;
        using table = BpfMap.openPinned<SessionKey, Session>(
          mapPin(node.bpffs, "sessions"),
          key,
          value,
        );
        const lasting = table.entries().filter((entry) => loaded.lasts(entry));
        using plane = installDataPlane(optionsOf(node));
        const now = translations(plane.maps.sessions.entries());
        found += lasting.length;
        for (const [flow, becomes] of translations(lasting)) {
          assert.equal(now.get(flow), becomes, flow);
        }
        assertSteady(node);
      }
      assert.ok(found >= 2 * loaded.flows, `${found} entries of ${loaded.flows} flows`);
      await loaded.finish();
    },
  });
}

Deno.test({
  name: "an upgrade that is killed at any step loses no packet, nor does the next one",
  ignore: !ready,
  async fn() {
    await using loaded = await LoadedCluster.start({
      mode: "clsact",
      routing: "overlay",
      install: installFormer,
    });
    const node = loaded.cluster.node(1);
    const deaths = STEPS.flatMap((step) =>
      step.startsWith("attach") ? [[step], [step, "2"]] : [[step]] // "2": with the third filter
    );
    for (const death of deaths) {
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", "--quiet", KILLED, node.bpffs, node.self.path, ...death],
      }).output();
      assert.equal(code, 128 + 9, `${death}: ${new TextDecoder().decode(stderr)}`);
    }
    installDataPlane(optionsOf(node)).close();
    assertSteady(node);
    await loaded.finish();
  },
});

Deno.test({
  name: "a table of sessions gets another capacity under load, and no flow is lost",
  ignore: !ready,
  async fn() {
    await using loaded = await LoadedCluster.start({ mode: "clsact", routing: "direct" });
    const node = loaded.cluster.node(1);
    for (const sessions of [131072, 32768]) {
      using plane = installDataPlane({ ...optionsOf(node), mapSizes: { sessions } });
      assert.equal(plane.maps.sessions.maxEntries, sessions);
    }
    assertNothingLeft(node);
    await loaded.finish();
  },
});

/** A node of release 0.1.0 by itself. */
class FormerNode implements Disposable {
  readonly sandbox = new Sandbox();
  readonly bpffs = this.sandbox.bpffs();
  readonly nl = this.sandbox.netns().nl;

  constructor() {
    installFormer({ bpffs: this.bpffs, mapSizes: { sessions: 1024 } }).close();
  }
  [Symbol.dispose](): void {
    this.sandbox[Symbol.dispose]();
  }
  /** Ids of everything that is pinned. */
  pins(): string[] {
    return pinnedVersions(this.bpffs).map(({ name, id }) => `${name} ${id}`);
  }
}

Deno.test({
  name: "an upgrade for which memory does not suffice leaves the former release serving",
  ignore: !ready,
  fn() {
    using node = new FormerNode();
    const before = node.pins();
    const fds = openFds();
    const tooMany = { ...node, mapSizes: { sessions: 1 << 30 } };
    assert.throws(
      () => installDataPlane(tooMany),
      (error: Error) => error instanceof LoadError && ["ENOMEM", "E2BIG"].includes(error.code),
    );
    assert.deepEqual(node.pins(), before);
    assert.deepEqual(openFds(), fds);
    installDataPlane(node).close();
    assert.deepEqual(node.pins().filter((one) => before.includes(one)).length, before.length - 6); // sessions, counters, config, fragments, vteps, monitor_budget
  },
});

Deno.test({
  name: "release 0.1.0 refuses the maps of this one, and this one those of the next",
  ignore: !ready,
  fn() {
    using node = new FormerNode();
    installDataPlane(node).close();
    const pinDir = `${node.bpffs}/map`;
    assert.throws(
      () => loadObject(formerObject("lbrp.bpf.o"), { pinDir, keepCapacities: true }),
      (error: Error) =>
        error instanceof MapMismatchError &&
        /sessions.*size of values: 56, expected 32/.test(error.message),
    );
    const before = node.pins();
    {
      using versions = MapVersions.open(node.bpffs)!;
      const { id } = pinnedVersions(node.bpffs).find(({ name }) => name === "endpoints")!;
      versions.set(id, SCHEMAS.endpoints.version + 1);
    }
    assert.throws(
      () => installDataPlane(node),
      (error: Error) => error instanceof SchemaError && error.found > error.known,
    );
    assert.deepEqual(node.pins(), before);
  },
});

Deno.test({
  name: "a map that the agent fills is filled before the programs of a new release use it",
  ignore: !ready,
  fn() {
    using node = new FormerNode();
    installDataPlane(node).close();
    const service = {
      id: 1,
      first: 0,
      count: 0,
      total_weight: 0,
      affinity_seconds: 0,
      flags: 0,
      table: 0,
    };
    const key = { addr: "10.96.0.1", port: 80, proto: 6, scope: 0 };
    using former = openDataPlane(node.bpffs);
    former.maps.services.set(key, service);
    {
      // As if its layout were one of before the first release.
      using versions = MapVersions.open(node.bpffs)!;
      versions.set(former.maps.services.id, 0);
    }
    using installation = prepareDataPlane(node);
    using plane = installation.dataPlane;
    assert.equal(installation.waits, true);
    assert.deepEqual(plane.maps.services.entries(), []);
    plane.maps.services.set(key, { ...service, id: 2 });
    const program = progInfo(former.programFd("lbrp_from_pod")).id;
    assert.equal(
      progInfo(plane.programFd("lbrp_from_pod")).id,
      program,
      "the former programs serve",
    );
    installation.activate();
    installation.activate();
    using now = openDataPlane(node.bpffs);
    assert.deepEqual(now.maps.services.entries(), [[key, { ...service, id: 2 }]]);
    assert.notEqual(progInfo(plane.programFd("lbrp_from_pod")).id, program);
    assert.equal(plane.maps.services.id, now.maps.services.id);
  },
});

for (const attach of ["tcx", "clsact"] as const) {
  Deno.test({
    name: `pods that are added at any step of an upgrade are served (${attach})`,
    ignore: !ready || (attach === "tcx" && !needs.kernel(6, 6)),
    fn() {
      using world = new CniWorld({ attach, install: installFormer });
      const { bpffs, node: { nl } } = world;
      const pods = STEPS.map((_, i) => world.pod(`10.1.0.${10 + i}`));
      const steps: InstallStep[] = [];
      const before = (step: InstallStep) => {
        world.add(pods[steps.length]!);
        steps.push(step);
      };
      world.inside(() => installDataPlane({ bpffs, nl, before }).close());
      assert.deepEqual(steps, STEPS);
      for (const pod of pods) assert.equal(world.call("CHECK", pod).code, 0);
      using versions = MapVersions.open(bpffs)!;
      versions.set(world.plane.maps.endpoints.id, SCHEMAS.endpoints.version + 1);
      for (
        const [verb, code] of [["ADD", 11], ["CHECK", 11], ["DEL", 11], ["STATUS", 51]] as const
      ) {
        const { out } = world.call(verb, verb === "STATUS" ? undefined : pods[0], {
          config: { cniVersion: "1.1.0" },
        });
        assert.equal(out?.["code"], code, verb);
        assert.match(String(out?.["details"]), /run the newer pcnk/);
      }
    },
  });
}
