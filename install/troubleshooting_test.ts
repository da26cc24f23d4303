/** docs/troubleshooting.md and the program say the same: each message that a reader looks for is one that is written somewhere. */
import assert from "node:assert/strict";

/** What the page quotes, and the file that says it. */
const messages: [quoted: string, file: string][] = [
  ["the Node has no IPv4 podCIDR yet", "src/agent/node/pod_readiness.ts"],
  ["there is no Node", "src/agent/node/pod_readiness.ts"],
  ["of this pod", "src/bpf/node_bpffs.ts"],
  ["cannot be reached", "src/cluster/kube/client.ts"],
  ["by way of the proxy", "src/cluster/kube/transport.ts"],
  ["there is nowhere to read cluster objects from", "src/agent/sources/object_source.ts"],
  ["is not there", "src/cluster/kube/access.ts"],
  ["unknown key", "src/config/load.ts"],
  ["install the reference CNI plugins", "install/plan.ts"],
  ["programs are not loaded", "cni/installed.ts"],
  ["OtherNetwork", "src/upkeep/cni.ts"],
  ["NoSocketLB", "src/agent/services/socket_lb.ts"],
  ["has UDP port", "src/agent/routing/apply_steps.ts"],
  ["another agent runs on this node", "src/agent/agent.ts"],
  ["was changed since and stays", "install/find_files.ts"],
  ["holds what is not pcnk's", "install/find_files.ts"],
  ["that cannot be ended from here", "install/agent_lock.ts"],
  ["without one now", "install/uninstall.ts"],
  ["--remove-from", "src/cli/manifest.ts"],
];

const read = (path: string) => Deno.readTextFileSync(new URL(`../${path}`, import.meta.url));

/** A message may be put together of parts. */
const plain = (source: string) => source.replace(/\$\{[^}]*\}/g, "").replace(/`? \+\n\s*["`]/g, "");

for (const [quoted, file] of messages) {
  Deno.test(`troubleshooting.md quotes what ${file} says: ${quoted}`, () => {
    assert.ok(read("docs/troubleshooting.md").includes(quoted), "not on the page");
    // `device x has` and `UDP port n` meet when the message is put together.
    const words = quoted === "has UDP port" ? ["has`", " UDP port "] : [quoted];
    for (const word of words) assert.ok(plain(read(file)).includes(word), `not in ${file}`);
  });
}
