/** An agent with mounts of its own, as the kubelet makes them for the DaemonSet: the node's bpffs counts, not the container's. */
import assert from "node:assert/strict";
import { hasPin, programPin } from "../../src/bpf/pins.ts";
import { bindMount, isBpffs, mountBpffs, umount } from "../../src/linux/mount.ts";
import { type AgentPlace, type AgentProcess, test } from "./support/agent.ts";

/**
 * $1: the node's folder, a shared mount; $2: the prefix. The rest runs with that folder below the prefix, a peer of the node's,
 * and with single directories of it at their own paths.
 */
const CONTAINER = `set -e
node=$1 host=$2; shift 2
mount --make-private /
mount --rbind "$node" "$host$node"
mount --make-rprivate "$node"
umount -l "$node"
mount -t tmpfs none "$node"
for one in bpf state manifests; do
  mkdir "$node/$one"; mount --bind "$host$node/$one" "$node/$one"
done
PCNK_HOST_PREFIX=$host exec "$@"`;

/** Starts an agent so; `host` is an empty directory. */
async function startContained(place: AgentPlace, host: string): Promise<AgentProcess> {
  const { dir, stateDir, bpffs } = place;
  Deno.mkdirSync(host + dir, { recursive: true });
  Deno.mkdirSync(stateDir);
  bindMount(dir, dir);
  const { success } = new Deno.Command("mount", { args: ["--make-shared", dir] }).outputSync();
  assert.ok(success);
  mountBpffs(bpffs);
  const unshare = ["unshare", "--mount", "--propagation", "unchanged"];
  place.wrapper = [...unshare, "sh", "-c", CONTAINER, "sh", dir, host];
  return await place.start("--health-address", "127.0.0.1:9879");
}

test("agent of a DaemonSet pins on the node's bpffs again, whatever the node does to it", async (place) => {
  const { dir, bpffs } = place;
  const host = Deno.makeTempDirSync({ prefix: "pcnk-t-host-" });
  try {
    const agent = await startContained(place, host);
    const pin = programPin(bpffs, "lbrp_from_pod");
    assert.ok(hasPin(pin), "the container's bpffs is the node's");
    const broken: [what: string, command: () => void][] = [
      ["is no bpffs any more", () => umount(bpffs)],
      ["the node has another bpffs", () => (umount(bpffs), mountBpffs(bpffs))],
      ["lacks the pins", () => mountBpffs(bpffs)],
    ];
    for (const [what, command] of broken) {
      command();
      assert.ok(!hasPin(pin));
      const { msg } = await agent.log(({ event }) => event === "Mended");
      assert.match(msg, new RegExp(what));
      assert.ok(isBpffs(bpffs) && hasPin(pin), `the node sees the pins: ${what}`);
    }

    while (umount(bpffs));
    Deno.writeTextFileSync(`${bpffs}/file`, "");
    const { msg } = await agent.log(({ event }) => event === "ObjectBroken");
    assert.match(
      msg,
      /is no bpffs any more: no pod can be added \(mending failed: .* has files in it\)/,
    );
    Deno.removeSync(`${bpffs}/file`);
    await agent.log(({ event }) => event === "Mended");
    assert.ok(hasPin(pin));
    await agent.end("SIGTERM");
  } finally {
    while (umount(bpffs, { lazy: true }));
    while (umount(dir, { lazy: true }));
    Deno.removeSync(host, { recursive: true });
  }
});
