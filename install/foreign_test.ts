import assert from "node:assert/strict";
import { foreignNetworks } from "./foreign.ts";

Deno.test("foreignNetworks() tells of other networks' files and devices, and of nobody else's", () => {
  const folders: Record<string, string[]> = {
    "/etc/cni/net.d": ["05-cilium.conflist", "10-pcnk.conflist", "99-loopback.conf", "README"],
    "/sys/class/net": ["lo", "eth0", "flannel.1", "cilium_host", "flannel", "weave0", "kube-ipvs0"],
  };
  const notes = foreignNetworks({ live: true, list: (path) => folders[path] ?? [] });
  assert.deepEqual(notes.map((note) => /\S*(?:cilium|loopback|flannel|ipvs)\S*/.exec(note)![0]), [
    "/etc/cni/net.d/05-cilium.conflist",
    "/etc/cni/net.d/99-loopback.conf",
    "flannel.1",
    "cilium_host",
    "kube-ipvs0",
  ]);
  assert.match(notes[0]!, /pods get that one/);
});
