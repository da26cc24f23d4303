/** Variants of the developers' bars, beside those of `pcnk bench`. */
import { zero } from "../../src/bpf/codec.ts";
import { session as sessionCodec } from "../../src/bpf/layout.ts";
import { SESSION_STATE, SESSION_ZONE } from "../../src/bpf/layout.ts";
import type { LabStore } from "../../src/lab/state.ts";
import { readSysctl, writeSysctl } from "../../src/linux/sysctl.ts";
import { sessionTables } from "../../src/measure/carriers.ts";
import { BRIDGE_NETFILTER, type Cleanup, type Variant } from "../../src/measure/variants.ts";

/** pcnk with a table of sessions that is full of ended ones, as on a node that has been up for long. */
export function fullOf(cleanup: Cleanup, { plan }: LabStore, pcnk: Variant): Variant {
  const tables = plan.nodes.map(({ bpffs }) => sessionTables(cleanup, bpffs).sessions);
  const { maxEntries } = tables[0]!;
  const ended = Array.from({ length: maxEntries }, (_, i) => {
    const flow = { src: "198.18.0.1", dst: "198.18.0.2", sport: i & 0xffff, dport: i >>> 16 };
    const key = { ...flow, proto: 6, zone: SESSION_ZONE.SERVICE };
    const value = { ...zero(sessionCodec), ...flow };
    return [key, { ...value, state: SESSION_STATE.CLOSED }] as const;
  });
  return {
    on: () => {
      tables.forEach((table) => table.setBatch(ended));
      pcnk.on();
    },
    off: () => pcnk.off(),
  };
}

/** The plain bridge with nothing in its way; Kubernetes wants bridge netfilter on, kube-proxy depends on it. */
export function bareVariant({ node }: { node: string }): Variant {
  const before = readSysctl(BRIDGE_NETFILTER, node);
  return {
    on: () => writeSysctl(BRIDGE_NETFILTER, "0", node),
    off: () => writeSysctl(BRIDGE_NETFILTER, before, node),
  };
}
