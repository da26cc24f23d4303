/** Programs on the hooks of a cgroup, on the real kernel. */
import assert from "node:assert/strict";
import { readArtifact } from "../../src/bpf/artifacts.ts";
import {
  attachCgroup,
  cgroupAttachment,
  CgroupError,
  cgroupIdOf,
  cgroupLinkPin,
  detachCgroup,
  listCgroupHooks,
} from "../../src/bpf/cgroup.ts";
import { installHostlb } from "../../src/bpf/hostlb.ts";
import { netnsCookieByProgram } from "../../src/bpf/netns_cookie.ts";
import { loadObject } from "../../src/bpf/object.ts";
import { objGet, objPin, progInfo } from "../../src/bpf/syscall.ts";
import { findCgroup2, parseMounts } from "../../src/linux/mounts.ts";
import { address, closeFd, openFile, rawSyscall, SYS } from "../../src/linux/libc.ts";
import { netnsCookie } from "../../src/linux/netns_cookie.ts";
import { removeCgroup, testCgroup } from "../support/cgroup.ts";
import * as needs from "../support/needs.ts";
import { sandboxed } from "../support/sandboxed.ts";

const hook = "connect4";
const id = (fd: number) => progInfo(fd).id;

const test = sandboxed({ ignore: !needs.root() }, (sandbox) => {
  const load = () => {
    const sizes = { sessions: 16, backends: 16, services: 16, fragments: 16 };
    const object = loadObject(readArtifact("hostlb.bpf.o"), { maxEntries: sizes });
    sandbox.defer(() => object.close());
    return object.program("hostlb_connect4");
  };
  /** Two versions of the program for connect4. */
  const programs: [number, number] = [load(), load()];
  /** Paths of two network namespaces. */
  const netns: [string, string] = [sandbox.netns().path, sandbox.netns().path];
  return { netns, sandbox, bpffs: sandbox.bpffs(), cgroup: testCgroup(sandbox), programs };
});

test("attachCgroup() attaches, replaces in place, and detachCgroup() removes", (scene) => {
  const { bpffs, cgroup, programs: [a, b] } = scene;
  const cgroupId = cgroupIdOf(cgroup);
  assert.equal(cgroupAttachment(bpffs, hook), undefined);
  for (const [programFd, change] of [[a, "created"], [a, "none"], [b, "replaced"]] as const) {
    const made = attachCgroup({ bpffs, cgroup, hook, programFd });
    assert.deepEqual(made, { hook, cgroupId, progId: id(programFd), change });
    const found = cgroupAttachment(bpffs, hook);
    assert.deepEqual(found, { hook, cgroupId, progId: id(programFd) });
  }
  assert.deepEqual(listCgroupHooks(bpffs), [hook]);
  assert.equal(detachCgroup(bpffs, hook), true);
  assert.equal(detachCgroup(bpffs, hook), false);
  assert.equal(cgroupAttachment(bpffs, hook), undefined);
  assert.deepEqual(listCgroupHooks(bpffs), []);
});

test("attachCgroup() moves to another cgroup", ({ sandbox, bpffs, cgroup, programs: [a] }) => {
  const other = testCgroup(sandbox);
  attachCgroup({ bpffs, cgroup, hook, programFd: a });
  const old = objGet(cgroupLinkPin(bpffs, hook));
  try {
    const made = attachCgroup({ bpffs, cgroup: other, hook, programFd: a });
    assert.deepEqual([made.change, made.cgroupId], ["created", cgroupIdOf(other)]);
    assert.equal(cgroupAttachment(bpffs, hook)?.cgroupId, cgroupIdOf(other));
    objPin(cgroupLinkPin(bpffs, "connect6"), old); // to look at it
    assert.equal(cgroupAttachment(bpffs, "connect6"), undefined, "the old link is detached");
  } finally {
    closeFd(old);
  }
});

test("attachCgroup() starts anew in a cgroup that was removed and made again", (scene) => {
  const { bpffs, cgroup, programs: [a] } = scene;
  attachCgroup({ bpffs, cgroup, hook, programFd: a });
  removeCgroup(cgroup);
  Deno.mkdirSync(cgroup);
  assert.equal(attachCgroup({ bpffs, cgroup, hook, programFd: a }).change, "created");
  assert.equal(cgroupAttachment(bpffs, hook)?.cgroupId, cgroupIdOf(cgroup));
});

test("attachCgroup() says what is wrong with a cgroup", (scene) => {
  const { bpffs, cgroup, programs: [a] } = scene;
  const attempt = (path: string) =>
    assert.throws.bind(assert, () => attachCgroup({ bpffs, cgroup: path, hook, programFd: a }));
  attempt("/tmp")(CgroupError);
  attempt(`${cgroup}/missing`)({ code: "ENOENT" });
  progAttachExclusive(cgroup, a);
  attempt(cgroup)(
    (error: Error) => error instanceof CgroupError && error.message.includes("another tool"),
  );
  assert.deepEqual(listCgroupHooks(bpffs), []);
});

test("installHostlb() that fails leaves no hook behind", (scene) => {
  const { bpffs, cgroup, programs, netns: [netns] } = scene;
  progAttachExclusive(cgroup, programs[0]);
  assert.throws(() => installHostlb({ bpffs, cgroup, netns, socketLb: "host" }), CgroupError);
  assert.deepEqual(listCgroupHooks(bpffs), []);
});

test("netnsCookie() tells namespaces apart", ({ netns: [a, b] }) => {
  const cookies = [netnsCookie(), netnsCookie(a), netnsCookie(b)];
  assert.equal(new Set(cookies).size, 3);
  assert.equal(netnsCookie(a), cookies[1]);
  assert.throws(() => netnsCookie("/nowhere"), { code: "ENOENT" });
});

test("netnsCookieByProgram() reads the same cookies as the socket option", (scene) => {
  const { cgroup, netns: [a, b] } = scene;
  assert.equal(netnsCookieByProgram(cgroup, a), undefined, "this process is outside the cgroup");
  const [, home] = /^0::(.*)$/m.exec(Deno.readTextFileSync("/proc/self/cgroup"))!;
  const procs = (folder: string) => Deno.writeTextFileSync(`${folder}/cgroup.procs`, `${Deno.pid}`);
  procs(cgroup);
  try {
    const cookies = [undefined, a, b].map((path) => netnsCookieByProgram(cgroup, path));
    assert.deepEqual(cookies, [netnsCookie(), netnsCookie(a), netnsCookie(b)]);
  } finally {
    procs(`${findCgroup2(parseMounts(Deno.readTextFileSync("/proc/self/mounts")))}${home}`);
  }
});

/** BPF_PROG_ATTACH without flags: no other program may be beside or below it. It goes away with the cgroup. */
function progAttachExclusive(cgroup: string, programFd: number): void {
  const CONNECT4 = 10;
  const BPF_PROG_ATTACH = 8;
  const directory = openFile(cgroup);
  const attr = new Uint8Array(new Uint32Array([directory, programFd, CONNECT4, 0]).buffer);
  const result = rawSyscall(SYS.bpf, BPF_PROG_ATTACH, address(attr), attr.length);
  closeFd(directory);
  assert.equal(result, 0);
}
