/** What the tests of the verbs share. */
import assert from "node:assert/strict";
import { deleteNetns } from "../../../src/linux/netns.ts";
import { openFds } from "../../support/fds.ts";
import * as needs from "../../support/needs.ts";
import { type Answer, CniWorld, GATEWAY, type WiredPod } from "./world.ts";

const available = needs.root() && needs.file("dist/artifacts/lbrp.bpf.o");
export const tcx = needs.kernel(6, 6);

/** A test on a node of its own that leaves no descriptor open. */
export function test(name: string, fn: (world: CniWorld) => void, attach?: "tcx" | "clsact"): void {
  Deno.test({
    name,
    ignore: !available || (attach === "tcx" && !tcx),
    fn() {
      const before = openFds();
      {
        using world = new CniWorld({ attach });
        fn(world);
      }
      assert.deepEqual(openFds(), before, "a descriptor leaked");
    },
  });
}

/** The same in both modes of attachment. */
export function both(name: string, fn: (world: CniWorld, mode: "tcx" | "clsact") => void): void {
  for (const mode of ["tcx", "clsact"] as const) {
    test(`${name} (${mode})`, (world) => fn(world, mode), mode);
  }
}

/** The entry that ADD makes for a pod. */
export const entryOf = ({ hostIfindex: ifindex, mac }: WiredPod) => ({
  ifindex,
  mac,
  gateway: GATEWAY,
});

/** Removes the pod's veth pair and its namespace, as the plugins after pcnk and the runtime do. */
export function destroy(world: CniWorld, pod: WiredPod): void {
  world.node.nl.delLink(pod.hostIfindex);
  deleteNetns(pod.netns.name);
}

/** The call went well and said nothing. */
export function ok(answer: Answer): void {
  assert.deepEqual({ code: answer.code, out: answer.out }, { code: 0, out: undefined });
}
