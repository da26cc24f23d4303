/** What `pcnk status` says of shares (bpf/lib/share.h). */
import { EXCESS, readExcess } from "../bpf/shares.ts";
import { monotonicNow } from "../linux/clock.ts";
import type { Finding } from "./finding.ts";
import type { NodeReader } from "./node.ts";

/** Seconds for which status shows who wanted more than its share. */
const RECENT = 600;
/** Sources to show. */
const SHOWN = 3;

/** Pods that want more than their share of what all use: a flood, or a setting that is too small for them. */
export function shareFindings(node: NodeReader): Finding[] {
  const since = monotonicNow() - BigInt(RECENT) * 1_000_000_000n;
  const bySource = Map.groupBy(
    readExcess(node.maps).filter(({ last }) => last > since),
    ({ address }) => address,
  );
  return [...bySource].slice(0, SHOWN).map(([address, all]) => {
    const pod = address === undefined ? "addresses outside" : node.pods.get(address)?.pod;
    const who = pod === undefined ? address : address === undefined ? pod : `${pod} (${address})`;
    const lost = all.map(({ kind, times }) => `${times} ${EXCESS[kind]}`).join(", ");
    const next = "others lose nothing; pcnk get sessions shows its flows, " +
      "shares.sessions and shares.snatPorts are settings";
    return { part: "shares", health: "note", text: `${who}: ${lost}`, next };
  });
}
