/**
 * The node's programs over again, for trying packets on them: they read the node's own maps, but what they write goes into
 * maps of their own, so nothing of the node changes.
 */
import { readArtifact } from "../bpf/artifacts.ts";
import { copyEntries } from "../bpf/batch.ts";
import { type MapName, maps as layout } from "../bpf/layout.ts";
import type { BpfMap } from "../bpf/map.ts";
import { type LoadedObject, loadObject } from "../bpf/object.ts";
import { type ReasonInfo, reasons } from "../bpf/reasons.ts";
import { mapInfo } from "../bpf/syscall.ts";
import { testRun } from "../bpf/testrun.ts";
import type { NodeReader } from "./node.ts";

/** Maps that programs write. */
const WRITTEN: ReadonlySet<MapName> = new Set([
  "sessions",
  "assured",
  "sources",
  "source_flows",
  "affinity",
  "affinity_proven",
  "shares",
  "scarce_ports",
  "fragments",
  "fragment_loads",
  "held_fragments",
  "held_scratch",
  "counters",
  // A traced packet is not shown by pcnk monitor.
  "monitor",
  "monitor_budget",
  "monitor_shares",
]);
/** Of these, what flows have left behind counts: where a client went before, it goes again. */
const COPIED = ["sessions", "assured", "affinity", "affinity_proven"] as const;

/** What a program did with a packet. */
export interface Passage {
  /** TC_ACT */
  verdict: number;
  packet: Uint8Array<ArrayBuffer>;
  /** Why: the packet's own reason first, then events. */
  reasons: ReasonInfo[];
}

/** Programs to try packets on. `close()` when done. */
export class Replica implements Disposable {
  readonly #objects: LoadedObject[] = [];
  readonly #counters: BpfMap<number, { packets: bigint; bytes: bigint }[]>;

  /** @throws {LoadError} when the kernel refuses a program */
  constructor(node: NodeReader) {
    const live = new Map<string, number>();
    const maxEntries: Record<string, number> = {};
    for (const name of Object.keys(layout) as MapName[]) {
      const map = node.maps[name];
      if (WRITTEN.has(name)) maxEntries[name] = map.maxEntries;
      else live.set(name, map.fd);
    }
    try {
      const lbrp = loadObject(readArtifact("lbrp.bpf.o"), {
        name: "lbrp",
        share: live,
        maxEntries,
      });
      this.#objects.push(lbrp);
      const dispatcher = readArtifact("k8sdispatcher.bpf.o");
      this.#objects.push(loadObject(dispatcher, { name: "k8sdispatcher", share: lbrp.maps }));
      for (const name of COPIED) {
        using copy = lbrp.map<unknown, unknown, false>(layout[name] as never);
        const from = node.maps[name] as BpfMap<unknown, unknown>;
        copyEntries(from, mapInfo(from.fd), copy as BpfMap<unknown, unknown>);
      }
      this.#counters = lbrp.map(layout.counters);
    } catch (error) {
      for (const object of this.#objects) object.close();
      throw error;
    }
  }

  /** Sends a packet through a program as if it were on the device. */
  run(program: string, packet: Uint8Array<ArrayBuffer>, ifindex: number): Passage {
    const fd = this.#objects.map(({ programs }) => programs.get(program)).find((one) =>
      one !== undefined
    );
    if (fd === undefined) throw new TypeError(`no program ${program}`);
    const before = this.#counts();
    const { verdict, packet: out } = testRun(fd, packet, { ifindex });
    const after = this.#counts();
    const met = reasons.filter((_, i) => after[i]! > before[i]!);
    const isEvent = ({ kind }: ReasonInfo) => kind === "event";
    return {
      verdict,
      packet: out,
      reasons: [...met.filter((one) => !isEvent(one)), ...met.filter(isEvent)],
    };
  }

  #counts(): bigint[] {
    return reasons.map((_, i) =>
      (this.#counters.get(i) ?? []).reduce((sum, { packets }) => sum + packets, 0n)
    );
  }

  close(): void {
    this.#counters.close();
    for (const object of this.#objects) object.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}
