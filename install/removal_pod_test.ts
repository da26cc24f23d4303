import assert from "node:assert/strict";
import { manifest, manifestKeys } from "./manifest.ts";
import { removalPod } from "./removal_pod.ts";
import { readSetOptions } from "./set_options.ts";

// deno-lint-ignore no-explicit-any -- objects of Kubernetes are looked into at many depths
type Any = any;

const words = [
  "stateDir=/run/other",
  "image=reg.example/pcnk:2",
  "namespace=net",
  "bpffs=/sys/fs/bpf/x",
];
const set = readSetOptions(words, manifestKeys);

Deno.test("removalPod() runs uninstall on one node, with what the DaemonSet's agent would know", () => {
  const { metadata, spec } = removalPod(set, "1.2.3", "node7") as Any;
  assert.deepEqual([metadata.namespace, spec.nodeName, spec.hostNetwork], ["net", "node7", true]);
  const [container] = spec.containers;
  assert.equal(container.image, "reg.example/pcnk:2");
  assert.deepEqual(container.command, [
    ...["pcnk", "uninstall", "--set", "stateDir=/run/other", "--set", "bpffs=/sys/fs/bpf/x"],
  ]);
  const names = new Set(spec.volumes.map((one: Any) => one.name));
  for (const { name } of container.volumeMounts) assert.ok(names.has(name), name);
});

Deno.test("removalPod() mounts the DaemonSet's directories, asks for nothing that went with it, and is not selected by it", () => {
  const { metadata, spec } = removalPod(set, "1.2.3", "node7") as Any;
  const daemonSet = manifest(set, "1.2.3").find(({ kind }) => kind === "DaemonSet") as Any;
  const theirs = daemonSet.spec.template.spec.volumes
    .filter((one: Any) => one.hostPath || one.emptyDir);
  assert.deepEqual(spec.volumes, theirs);
  assert.equal(spec.serviceAccountName, undefined);
  const [key, value] = Object.entries(daemonSet.spec.selector.matchLabels)[0]!;
  assert.notEqual(metadata.labels[key], value);
});
