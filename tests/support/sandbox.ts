/** Network namespaces and a bpffs for one test; `using` takes everything away again, also when the test fails. */
import "./libraries.ts";
import { closeFd, openFile } from "../../src/linux/libc.ts";
import { mountBpffs, umount } from "../../src/linux/mount.ts";
import { createNetns, deleteNetns, netnsPath } from "../../src/linux/netns.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";

let count = 0;

/** A network namespace of a test. */
export interface TestNetns {
  readonly name: string;
  readonly path: string;
  readonly nl: RtNetlink;
}

/** What a test borrows from the machine. */
export class Sandbox {
  readonly #undo: (() => void)[] = [];

  /** Runs when the test is over, last in, first out. */
  defer(undo: () => void): void {
    this.#undo.push(undo);
  }

  /** A fresh network namespace with its loopback up. */
  netns(): TestNetns {
    const name = `pcnk-t-${Deno.pid}-${++count}`;
    createNetns(name);
    this.defer(() => deleteNetns(name));
    const nl = RtNetlink.open(netnsPath(name));
    this.defer(() => nl.close());
    nl.setLink(1, { up: true });
    return { name, path: netnsPath(name), nl };
  }

  /** A fresh bpffs. */
  bpffs(): string {
    const path = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
    this.defer(() => Deno.removeSync(path));
    mountBpffs(path);
    this.defer(() => umount(path, { lazy: true }));
    return path;
  }

  /** A veth pair between two namespaces, both ends up; returns both indexes. */
  veth(a: TestNetns, b: TestNetns, name = "v0", peer = `${name}p`): [inA: number, inB: number] {
    const netnsFd = openFile(b.path);
    try {
      a.nl.addLink({ kind: "veth", name, up: true, peer: { name: peer, netnsFd } });
    } finally {
      closeFd(netnsFd);
    }
    const inB = b.nl.link(peer)!.index;
    b.nl.setLink(inB, { up: true });
    return [a.nl.link(name)!.index, inB];
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undo.reverse()) undo();
  }
}
