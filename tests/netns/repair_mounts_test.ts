/** An agent with mounts of its own, as the kubelet makes them for the DaemonSet: another container mounts the node's bpffs. */
import assert from "node:assert/strict";
import { MOUNTER_VARIABLE } from "../../src/bpf/node_bpffs.ts";
import { hasPin, programPin } from "../../src/bpf/pins.ts";
import { isBpffs, mountBpffs, umount } from "../../src/linux/mount.ts";
import { startPcnk } from "../support/pcnk.ts";
import { type AgentPlace, type AgentProcess, test } from "./support/agent.ts";

/** Starts an agent that sees what is mounted and unmounted here, and mounts nothing that is seen here. */
async function startContained(place: AgentPlace): Promise<AgentProcess> {
  const unshare = ["unshare", "--mount", "--propagation", "slave"];
  place.wrapper = [...unshare, "env", `${MOUNTER_VARIABLE}=bpffs`];
  return await place.start("--health-address", "127.0.0.1:9879");
}

test("agent of a DaemonSet pins on the node's bpffs again, whatever the node does to it", async (place) => {
  const { dir, bpffs } = place;
  // The folder of the mount point is a shared mount on the node.
  for (const words of [["--bind", dir, dir], ["--make-shared", dir]]) {
    assert.ok(new Deno.Command("mount", { args: words }).outputSync().success);
  }
  const mounter = startPcnk("__bpffs", bpffs);
  const ended = mounter.output();
  try {
    const agent = await startContained(place);
    const pin = programPin(bpffs, "lbrp_from_pod");
    assert.ok(hasPin(pin), "the agent waits for the node's bpffs, and pins there");
    const broken: [what: string, command: () => void][] = [
      ["is no bpffs any more|lacks the pins", () => umount(bpffs)],
      ["lacks the pins", () => (umount(bpffs), mountBpffs(bpffs))],
      ["lacks the pins", () => mountBpffs(bpffs)],
    ];
    for (const [what, command] of broken) {
      command();
      assert.ok(!hasPin(pin));
      const { msg } = await agent.log(({ event }) => event === "Mended");
      assert.match(msg, new RegExp(what));
      assert.ok(isBpffs(bpffs) && hasPin(pin), `the node sees the pins: ${what}`);
    }

    mounter.kill("SIGTERM");
    assert.equal((await ended).code, 0);
    while (umount(bpffs));
    const { msg } = await agent.log(({ event }) => event === "ObjectBroken");
    assert.match(msg, /is no bpffs any more.*not mounted by the container bpffs/);
    assert.ok(!isBpffs(bpffs), "the agent mounts nothing itself");
    mountBpffs(bpffs);
    await agent.log(({ event }) => event === "Mended");
    assert.ok(hasPin(pin));
    await agent.end("SIGTERM");
  } finally {
    try {
      mounter.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await ended;
    while (umount(bpffs, { lazy: true }));
    while (umount(dir, { lazy: true }));
  }
});
