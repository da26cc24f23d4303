import assert from "node:assert/strict";
import { cgroup2For, CGROUP_ROOT, findCgroup2, mountsBelow, parseMounts } from "./mounts.ts";

const text = `sysfs /sys sysfs rw 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
none /run/pcnk-lab/a/node1/bpf bpf rw 0 0
none /run/pcnk-lab/a/node1/bpf bpf rw 0 0
none /run/pcnk-lab/ab/node1/bpf bpf rw 0 0
none /mnt/with\\040blank tmpfs rw 0 0
`;

Deno.test("parseMounts() undoes the escapes", () => {
  assert.equal(parseMounts(text).at(-1)?.path, "/mnt/with blank");
});

Deno.test("findCgroup2() finds the unified hierarchy, or says that there is none", () => {
  assert.equal(findCgroup2(parseMounts(text)), "/sys/fs/cgroup/unified");
  assert.equal(findCgroup2([]), null);
});

Deno.test("mountsBelow() lists a mount as often as it is mounted, and none of a folder with a like name", () => {
  const path = "/run/pcnk-lab/a/node1/bpf";
  assert.deepEqual(mountsBelow("/run/pcnk-lab/a", parseMounts(text)), [path, path]);
});

Deno.test("cgroup2For() finds cgroup v2 at, below, or for the usual place beside the setting", () => {
  const mounts = parseMounts(text);
  const among = (...paths: string[]) => (path: string) => paths.includes(path);
  const unified = "/sys/fs/cgroup/unified";
  assert.equal(cgroup2For(CGROUP_ROOT, among(CGROUP_ROOT, unified), mounts), CGROUP_ROOT);
  assert.equal(cgroup2For(CGROUP_ROOT, among(unified), mounts), unified);
  assert.equal(cgroup2For(CGROUP_ROOT, among("/x"), [{ path: "/x", type: "cgroup2" }]), "/x");
  assert.equal(cgroup2For("/tmp", among(unified), mounts), undefined);
  assert.equal(cgroup2For(CGROUP_ROOT, among(), []), undefined);
});
