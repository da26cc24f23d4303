/** The agent at an upgrade: short of memory, it says so everywhere and goes on trying; before a newer pcnk's state it stops. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openDataPlane } from "../../src/bpf/dataplane.ts";
import { MapVersions, pinnedVersions } from "../../src/bpf/map_versions.ts";
import { listPins } from "../../src/bpf/pins.ts";
import { SCHEMAS } from "../../src/bpf/schema.ts";
import { mountBpffs } from "../../src/linux/mount.ts";
import { installFormer } from "../support/former.ts";
import * as needs from "../support/needs.ts";
import { pcnk } from "../support/pcnk.ts";
import { AgentPlace, serviceYaml } from "./support/agent.ts";

const ignore = !needs.root() || !needs.file("dist/artifacts/lbrp_converting.bpf.o");
/** Version 1 of cgroups, whose limits hold for what the kernel allocates at once. */
const MEMORY = "/sys/fs/cgroup/memory";
const LIMIT = "memory.limit_in_bytes";

/** A node that release 0.1.0 was installed on. */
function formerPlace(): AgentPlace {
  const place = new AgentPlace();
  using nl = place.netlink();
  nl.setLink(1, { up: true });
  Deno.mkdirSync(place.bpffs, { mode: 0o700 });
  mountBpffs(place.bpffs);
  installFormer({ bpffs: place.bpffs, mapSizes: { sessions: 1024 } }).close();
  place.write("web.yaml", serviceYaml("web", "10.96.0.1", ["10.1.0.1"]));
  return place;
}

/** A command in the node's network namespace. */
function on(place: AgentPlace, ...argv: string[]): string {
  const args = [`--net=${place.netns}`, ...argv];
  const { stdout, stderr } = new Deno.Command("nsenter", { args, env: { NO_COLOR: "1" } })
    .outputSync();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

const status = (place: AgentPlace) =>
  on(place, ...pcnk, "status", "--bpffs", place.bpffs, "--state-dir", place.stateDir);
const version = (place: AgentPlace, map: string) =>
  pinnedVersions(place.bpffs).find(({ name }) => name === map)?.version;

Deno.test({
  name: "an upgrade that memory does not suffice for is reported, and done when it does",
  ignore: ignore || !needs.file(`${MEMORY}/${LIMIT}`) || !needs.file("/usr/bin/curl"),
  async fn() {
    const group = `${MEMORY}/pcnk-t-${Deno.pid}`;
    Deno.mkdirSync(group);
    try {
      await using place = formerPlace();
      Deno.writeTextFileSync(`${group}/${LIMIT}`, `${200 << 20}`);
      const pins = pinnedVersions(place.bpffs);
      const agent = place.spawn("--map-sizes-sessions", `${1 << 22}`);
      Deno.writeTextFileSync(`${group}/cgroup.procs`, `${agent.pid}`);
      const { msg } = await agent.log(({ event }) => event === "UpgradeFailed");
      assert.match(msg, /the former data plane serves on: .*ENOMEM/);
      assert.deepEqual(pinnedVersions(place.bpffs), pins);
      assert.match(
        on(place, "curl", "-s", "http://127.0.0.1:9879/readyz"),
        /\[-\]upgrade failed: the former data plane serves on: .*ENOMEM/,
      );
      assert.match(status(place), /data plane +bad +the upgrade failed: .*ENOMEM/);
      Deno.writeTextFileSync(`${group}/${LIMIT}`, "-1");
      await agent.log(({ msg }) => msg === "ready");
      assert.equal(version(place, "sessions"), SCHEMAS.sessions.version);
      assert.doesNotMatch(status(place), /upgrade/);
    } finally {
      Deno.removeSync(group);
    }
  },
});

Deno.test({
  name: "the agent refuses what a newer pcnk made before it changes anything",
  ignore,
  async fn() {
    await using place = formerPlace();
    const agent = await place.start();
    await agent.end("SIGTERM");
    const snapshot = () => [
      pinnedVersions(place.bpffs),
      listPins(`${place.bpffs}/prog`),
      listPins(place.stateDir).sort(),
    ];
    {
      using versions = MapVersions.open(place.bpffs)!;
      using plane = openDataPlane(place.bpffs);
      versions.set(plane.maps.affinity.id, 7);
    }
    const before = snapshot();
    const refused = async (message: RegExp) => {
      const agent = place.spawn();
      const { code } = await agent.exit;
      assert.equal(code, 1);
      assert.match(agent.errors, message);
      assert.deepEqual(snapshot(), before);
    };
    await refused(/map\/affinity is of schema 7, made by a newer pcnk.*run the newer pcnk again/);
    assert.match(
      status(place),
      /data plane +bad +a newer pcnk made its maps \(schema: affinity 7\)/,
    );
    Deno.writeTextFileSync(join(place.stateDir, "sysctls.json"), '{"schema":2}');
    before.splice(2, 1, listPins(place.stateDir).sort());
    await refused(/sysctls\.json is of schema 2, written by a newer pcnk/);
  },
});
