/** Attaching, replacing and detaching programs, in both modes, on the real kernel. */
import assert from "node:assert/strict";
import {
  attach,
  AttachError,
  type AttachMode,
  attachPinned,
  detach,
  FILTER,
  type Hook,
  isAttached,
  listAttachments,
  removeStaleLinks,
  replaceAll,
} from "../../src/bpf/attach.ts";
import { PinHolder } from "../../src/bpf/pin_holder.ts";
import { linkPin, programPin, replacePin } from "../../src/bpf/pins.ts";
import { linkCreate, objPin, progInfo, tryObjGet } from "../../src/bpf/syscall.ts";
import { closeFd } from "../../src/linux/libc.ts";
import { withNetns } from "../../src/linux/netns.ts";
import { openFds } from "../support/fds.ts";
import * as needs from "../support/needs.ts";
import { verdictProgram } from "../support/programs.ts";
import { Sandbox, type TestNetns } from "../support/sandbox.ts";

const root = needs.root();
const tcx = needs.kernel(6, 6);

interface Scene {
  sandbox: Sandbox;
  netns: TestNetns;
  /** The ingress hook of a veth. */
  hook: Hook;
  /** Two versions of a program, both named test_prog. */
  programs: [number, number];
  /** Runs inside the namespace, where TCX links have to be made. */
  inside: <T>(fn: () => T) => T;
}

function test(name: string, needTcx: boolean, fn: (scene: Scene) => void): void {
  Deno.test({
    name,
    ignore: !root || (needTcx && !tcx),
    fn() {
      using sandbox = new Sandbox();
      const netns = sandbox.netns();
      netns.nl.addLink({ kind: "veth", name: "v0", up: true, peer: { name: "v1" } });
      const { index } = netns.nl.link("v0")!;
      const hook: Hook = {
        bpffs: sandbox.bpffs(),
        ifindex: index,
        direction: "ingress",
        nl: netns.nl,
      };
      const programs: [number, number] = [verdictProgram("test_prog"), verdictProgram("test_prog")];
      programs.forEach((fd) => sandbox.defer(() => closeFd(fd)));
      const before = openFds();
      fn({ sandbox, netns, hook, programs, inside: (fn) => withNetns(netns.path, fn) });
      assert.deepEqual(openFds(), before, "a descriptor leaked");
    },
  });
}

const name = "test_prog";
const id = (fd: number) => progInfo(fd).id;

for (const mode of ["tcx", "clsact"] as const) {
  const needTcx = mode === "tcx";

  test(
    `attach() by ${mode} attaches, replaces in place, and detach() removes`,
    needTcx,
    (scene) => {
      const { hook, programs: [a, b], inside } = scene;
      assert.equal(isAttached(hook), undefined);
      const expected = { ifindex: hook.ifindex, direction: "ingress", mode };
      for (const fd of [a, a, b]) {
        const made = inside(() => attach({ ...hook, programFd: fd, name, mode }));
        assert.deepEqual(made, { ...expected, progId: id(fd) });
        assert.deepEqual(isAttached(hook), made);
      }
      assert.equal(isAttached({ ...hook, programFd: a }), undefined);
      assert.equal(isAttached({ ...hook, programFd: b })?.progId, id(b));
      assert.deepEqual(listAttachments(hook), [{ ...expected, progId: id(b), name }]);
      assert.equal(detach(hook), true);
      assert.equal(detach(hook), false);
      assert.equal(isAttached(hook), undefined);
      assert.deepEqual(listAttachments(hook), []);
    },
  );

  test(`attach() by ${mode} takes both directions of a device`, needTcx, (scene) => {
    const { hook, programs: [a], inside } = scene;
    const egress: Hook = { ...hook, direction: "egress" };
    inside(() => {
      attach({ ...hook, programFd: a, name, mode });
      attach({ ...egress, programFd: a, name, mode });
    });
    assert.equal(listAttachments(hook).length, 2);
    detach(egress);
    assert.ok(isAttached(hook));
    assert.equal(isAttached(egress), undefined);
  });

  test(`replaceAll() puts new programs into attachments by ${mode}`, needTcx, (scene) => {
    const { hook, programs: [a, b], inside } = scene;
    inside(() => attach({ ...hook, programFd: a, name, mode }));
    assert.equal(replaceAll({ ...hook, programs: new Map([["other", b]]) }), 0);
    assert.equal(replaceAll({ ...hook, programs: new Map([[name, b]]) }), 1);
    assert.deepEqual(isAttached(hook)?.progId, id(b));
    assert.equal(isAttached(hook)?.mode, mode);
  });

  test(`attach() by ${mode} removes the other mode's attachment afterwards`, true, (scene) => {
    const { hook, programs: [a, b], inside } = scene;
    const other: AttachMode = mode === "tcx" ? "clsact" : "tcx";
    inside(() => {
      attach({ ...hook, programFd: a, name, mode: other });
      attach({ ...hook, programFd: b, name, mode });
    });
    assert.deepEqual(listAttachments(hook).map((found) => [found.mode, found.progId]), [[
      mode,
      id(b),
    ]]);
  });

  test(`attach() in mode auto keeps ${mode} where it is in use`, needTcx, (scene) => {
    const { hook, programs: [a, b], inside } = scene;
    inside(() => attach({ ...hook, programFd: a, name, mode }));
    assert.equal(inside(() => attach({ ...hook, programFd: b, name, mode: "auto" })).mode, mode);
  });

  test(`attach() by ${mode} says when the device is missing`, needTcx, (scene) => {
    const { hook, programs: [a], inside } = scene;
    const missing = { ...hook, ifindex: 4711 };
    assert.throws(() => inside(() => attach({ ...missing, programFd: a, name, mode })), {
      code: "ENODEV",
    });
    assert.equal(isAttached(missing), undefined);
    assert.equal(detach(missing), false);
  });
}

test(
  "attach() in mode auto takes TCX where the kernel has it",
  true,
  ({ hook, programs, inside }) => {
    const made = inside(() => attach({ ...hook, programFd: programs[0], name, mode: "auto" }));
    assert.equal(made.mode, "tcx");
  },
);

test("attach() by clsact leaves other tools' filters and the qdisc alone", false, (scene) => {
  const { hook, netns: { nl }, programs: [a, b] } = scene;
  const { ifindex, direction } = hook;
  nl.addClsact(ifindex);
  const foreign = { ifindex, direction, priority: 5, handle: 1, progFd: a, name: "other_tool" };
  nl.filterReplace(foreign);
  nl.filterReplace({ ...foreign, priority: FILTER.priority, handle: 1 });
  attach({ ...hook, programFd: b, name, mode: "clsact" });
  assert.equal(nl.filterList(ifindex, direction).length, 3);
  assert.equal(detach(hook), true);
  const left = nl.filterList(ifindex, direction);
  assert.deepEqual(left.map((filter) => filter.name), ["other_tool", "other_tool"]);
  assert.deepEqual(nl.listClsact(), [ifindex]);
});

test("attach() by clsact refuses to replace another tool's filter in its place", false, (scene) => {
  const { hook, netns: { nl }, programs: [a, b] } = scene;
  const { ifindex, direction } = hook;
  nl.addClsact(ifindex);
  const { priority, handle } = FILTER;
  nl.filterReplace({ ifindex, direction, priority, handle, progFd: a, name: "other_tool" });
  assert.throws(
    () => attach({ ...hook, programFd: b, name, mode: "clsact" }),
    (error: Error) => error instanceof AttachError && error.message.includes('"other_tool"'),
  );
  assert.equal(detach(hook), false);
  assert.equal(nl.filterList(ifindex, direction)[0]?.progId, id(a));
});

test(
  "attach() by clsact goes before another tool's redirects, whatever their kind",
  false,
  (scene) => {
    const { hook, netns, programs: [a, b] } = scene;
    const { ifindex, direction } = hook;
    const tc = (...args: string[]) => {
      const command = new Deno.Command("tc", { args: ["-n", netns.name, ...args] });
      const { success, stdout, stderr } = command.outputSync();
      return new TextDecoder().decode(success ? stdout : stderr);
    };
    netns.nl.addLink({ kind: "veth", name: "v2", up: true, peer: { name: "v3" } });
    const redirect = ["action", "mirred", "egress", "redirect", "dev", "v2"];
    const kinds = { u32: ["u32", "match", "u32", "0", "0"], matchall: ["matchall"] };
    for (const [kind, match] of Object.entries(kinds)) {
      tc("qdisc", "add", "dev", "v0", "handle", "ffff:", "ingress"); // as bandwidth does
      const add = ["filter", "add", "dev", "v0", "parent", "ffff:", "protocol", "all", "prio", "1"];
      const added = tc(...add, ...match, ...redirect);
      if (kind === "matchall" && /not found/.test(added)) continue; // this kernel has none
      assert.equal(added, "");
      for (const programFd of [a, b]) attach({ ...hook, programFd, name, mode: "clsact" });
      const found = () => netns.nl.filterList(ifindex, direction);
      assert.deepEqual([...new Set(found().map(({ kind, priority }) => `${priority} ${kind}`))], [
        "1 bpf",
        `2 ${kind}`,
      ]);
      assert.equal(isAttached(hook)?.progId, id(b));
      assert.match(tc("filter", "show", "dev", "v0", "ingress"), /Egress Redirect to device v2/);
      assert.equal(detach(hook), true);
      assert.ok(found().every(({ priority }) => priority === 2));
      tc("qdisc", "del", "dev", "v0", "ingress");
    }
  },
);

test("attach() by tcx leaves other tools' links alone", true, (scene) => {
  const { hook, programs: [a, b], inside } = scene;
  const TCX_INGRESS = 46;
  const foreign = inside(() => linkCreate(a, hook.ifindex, TCX_INGRESS));
  try {
    inside(() => attach({ ...hook, programFd: b, name, mode: "tcx" }));
    assert.equal(listAttachments(hook).length, 1);
    assert.equal(detach(hook), true);
  } finally {
    closeFd(foreign);
  }
});

test(
  "a TCX attachment outlives its maker's descriptors and dies with its device",
  true,
  (scene) => {
    const { hook, netns: { nl }, programs: [a], inside } = scene;
    inside(() => attach({ ...hook, programFd: a, name, mode: "tcx" }));
    assert.ok(isAttached(hook), "held by its pin alone");
    nl.delLink(hook.ifindex);
    assert.equal(isAttached(hook), undefined);
    assert.deepEqual(listAttachments(hook), []);
    const left = tryObjGet(linkPin(hook.bpffs, hook.ifindex, "ingress"));
    assert.notEqual(left, undefined, "the pin outlives the device");
    closeFd(left!);
    assert.deepEqual(removeStaleLinks(hook.bpffs), [hook.ifindex]);
    assert.deepEqual(removeStaleLinks(hook.bpffs), []);
  },
);

test(
  "attach() and replaceAll() see through a stale link pin when an ifindex is used again",
  true,
  (scene) => {
    const { hook, netns: { nl }, programs: [a, b], inside } = scene;
    const { ifindex } = hook;
    inside(() => attach({ ...hook, programFd: a, name, mode: "tcx" }));
    nl.delLink(ifindex);
    // The kernel counts on; who wants an index again has to ask for it, as a restored container does.
    nl.addLink({ kind: "veth", name: "again", index: ifindex, up: true, peer: { name: "peer" } });
    assert.equal(nl.link("again")!.index, ifindex);
    assert.equal(isAttached(hook), undefined, "the pin belongs to the former device");
    assert.equal(replaceAll({ ...hook, programs: new Map([[name, b]]) }), 0);
    const made = inside(() => attach({ ...hook, programFd: b, name, mode: "tcx" }));
    assert.equal(isAttached(hook)?.progId, made.progId);
  },
);

test("attach() by tcx takes over a link that another process pinned meanwhile", true, (scene) => {
  const { hook, programs: [a, b], inside } = scene;
  Deno.mkdirSync(`${hook.bpffs}/link`);
  const link = inside(() => linkCreate(a, hook.ifindex, 46));
  objPin(linkPin(hook.bpffs, hook.ifindex, "ingress"), link);
  closeFd(link);
  inside(() => attach({ ...hook, programFd: b, name, mode: "tcx" }));
  assert.deepEqual(listAttachments(hook).map(({ progId }) => progId), [id(b)]);
});

test("attachPinned() attaches what is pinned under the name", false, (scene) => {
  const { hook, programs: [a, b] } = scene;
  Deno.mkdirSync(`${hook.bpffs}/prog`);
  const options = { ...hook, name, mode: "clsact" } as const;
  assert.throws(() => attachPinned(options), { code: "ENOENT" });
  replacePin(programPin(hook.bpffs, name), a);
  assert.equal(attachPinned(options).progId, id(a));
  replacePin(programPin(hook.bpffs, name), b);
  assert.equal(attachPinned(options).progId, id(b));
});

test("attachPinned() goes again when an upgrade pins a new version meanwhile", false, (scene) => {
  const { hook, programs: [a, b], netns: { nl } } = scene;
  Deno.mkdirSync(`${hook.bpffs}/prog`);
  replacePin(programPin(hook.bpffs, name), a);
  // The upgrade happens right after the first attachment is made.
  let upgrades = 0;
  const racing = Object.create(nl, {
    filterReplace: {
      value: (filter: Parameters<typeof nl.filterReplace>[0]) => {
        nl.filterReplace(filter);
        if (upgrades++ === 0) replacePin(programPin(hook.bpffs, name), b);
      },
    },
  });
  assert.equal(attachPinned({ ...hook, nl: racing, name, mode: "clsact" }).progId, id(b));
  assert.equal(upgrades, 2);
});

Deno.test({
  name: "PinHolder goes on holding what is gone when others' pins are taken anew",
  ignore: !root,
  fn() {
    using sandbox = new Sandbox();
    const bpffs = sandbox.bpffs();
    for (const folder of ["map", "prog", "link"]) Deno.mkdirSync(`${bpffs}/${folder}`);
    const [gone, stays] = ["gone", "stays"].map((name) => programPin(bpffs, name));
    const fd = verdictProgram("test_prog");
    for (const path of [gone!, stays!]) objPin(path, fd);
    closeFd(fd);
    using holder = new PinHolder(bpffs);
    assert.deepEqual(holder.look(), []);
    Deno.removeSync(gone!);
    holder.retake();
    assert.deepEqual(holder.look(), [gone]);
    holder.restore();
    assert.deepEqual([holder.look(), Deno.lstatSync(gone!).isFile], [[], true]);
    // What this process has removed itself is forgotten.
    Deno.removeSync(gone!);
    holder.renew();
    assert.deepEqual(holder.look(), []);
  },
});
