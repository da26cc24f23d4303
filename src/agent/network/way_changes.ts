/** Since when packets of pods behind the overlay come by it alone. */
import { NODE_FLAG } from "../../bpf/layout.ts";
import type { RoutingPlan } from "../../routing/types.ts";

/** How long a node may be later than this one to follow a change of settings. */
const SETTLE_MS = 60_000;

/** Nodes choose the overlay instead of another way at different moments: until then their pods' packets come by both. */
export class WayChanges {
  #at: number | undefined;
  #others = new Set<string>();

  /** @param flags NODE_FLAG of the pinned configuration: what held before this agent began */
  constructor(flags: number) {
    // No agent has run here before it, or the last one relied on it.
    if (!(flags & NODE_FLAG.KNOWN_VTEPS) || flags & NODE_FLAG.TUNNELLED) this.#at = 0;
  }

  /** When `plan.tunnelled` may be relied on. @param now milliseconds of performance.now(), as what is returned */
  follow({ peers, tunnelled }: Pick<RoutingPlan, "peers" | "tunnelled">, now: number): number {
    const moved = peers.some(({ node, mode }) => mode === "overlay" && this.#others.has(node));
    this.#others = new Set(peers.filter(({ mode }) => mode !== "overlay").map(({ node }) => node));
    if (moved || !tunnelled || this.#at === undefined) this.#at = now + SETTLE_MS;
    return this.#at;
  }
}
