/** Chains of rules, and which verdict they give to the packets of a kind. */
import { type Bits, exact, native, type Truth, unknown } from "./bits.ts";
import { CT_STATE, type Devices, type Packet } from "./packet.ts";

export type Hook =
  | "prerouting"
  | "input"
  | "forward"
  | "output"
  | "postrouting"
  | "ingress"
  | "egress";

/** Which frames a chain sees: IPv4's, ARP's, those that a bridge switches, those of one device. */
export type Layer = "ip" | "arp" | "bridge" | "netdev";

/** Where on its way a packet is. */
export interface Point {
  readonly layer: Layer;
  readonly hook: Hook;
  readonly iif: Devices;
  readonly oif: Devices;
}

export type Verdict =
  | { readonly kind: "accept" | "drop" | "queue" | "return" }
  | { readonly kind: "jump" | "goto"; readonly chain: string };

/** A part of a rule: a condition, a change, or, last, a verdict. `rate`: the condition holds for some packets of any kind. */
export type Step = (e: Evaluation) => Truth | "rate" | Verdict;

export interface Rule {
  /** `handle 7`, `rule 3`. */
  readonly name: string;
  readonly steps: readonly Step[];
}

export interface Chain {
  /** As its program names it: `ip filter FORWARD`. */
  readonly name: string;
  /** A command that shows it. */
  readonly shown: string;
  /** Of a base chain; undefined: packets come from other chains only. */
  readonly base?: {
    readonly layer: Layer;
    readonly hook: Hook;
    readonly priority: number;
    readonly policy: "accept" | "drop";
    /** Of `netdev`. */
    readonly devices: readonly string[];
  };
  /** undefined: too many to read. */
  rules(): readonly Rule[] | undefined;
  /** Another chain of its table. */
  sibling(name: string): Chain | undefined;
}

/** What drops a packet. */
export interface Culprit {
  readonly chain: Chain;
  /** undefined: the chain's policy. */
  readonly rule?: Rule;
  /**
   * `all` packets; all `left` over by rules that accept some, or cannot be interpreted; `some`: of the rule's conditions one
   * names the packets, another depends or cannot be interpreted.
   */
  readonly which: "all" | "left" | "some";
}

/** Conntrack's priority, NF_IP_PRI_CONNTRACK: chains before it see no state. */
const CONNTRACK_PRIORITY = -200;
/** Bounds the time for odd rules, as chains may jump to each other in many ways. */
const MOST_RULES = 200_000;
/** NFT_JUMP_STACK_SIZE */
const MOST_JUMPS = 16;

/** A packet of a kind on its way, with what rules have done to it. */
export class Evaluation {
  mark: Bits = exact(native(0));
  /** Rules have said `notrack`. */
  untracked: Truth = false;
  /** What rules have loaded: NFT_REG_1 to NFT_REG_4. */
  registers: Bits = unknown(64);
  /** Slots of four bytes in `registers` that have a device, an address or a port; false: these packets may have any. */
  readonly names = new Map<number, boolean>();
  /** Whether the present rule applies is not certain. */
  unsure = false;
  /** Nor is it whether its chain is met. */
  #doubtful = false;
  /** A condition of the rule names a device, an address or a port of the packets. */
  #named = false;
  /** One names an address, of which these packets may have any: it is about others. */
  #others = false;
  #rate = false;
  /** A condition depends, other than by a rate. */
  #depends = false;
  #point: Point | undefined;
  #priority = 0;
  #judged = 0;

  constructor(readonly packet: Packet) {}

  /** Notes an equation of a device, an address or a port. @param known false: these packets may have any */
  noteName(known: boolean, truth: Truth): void {
    if (truth === false) return;
    if (known) this.#named = true;
    else this.#others = true;
  }

  /** The rule is about these packets, though it may not hold for all of them. */
  get named(): boolean {
    return !this.#others && (this.#named || this.#rate && !this.#depends);
  }

  /** It is not certain that the present rule changes the packet. */
  get doubtful(): boolean {
    return this.unsure || this.#doubtful;
  }

  get point(): Point {
    return this.#point!;
  }

  /** CT_STATE; undefined: unknown. */
  get state(): number | undefined {
    if (this.untracked === undefined || this.point.layer !== "ip") return undefined;
    if (this.untracked) return CT_STATE.UNTRACKED;
    return this.#priority <= CONNTRACK_PRIORITY ? CT_STATE.INVALID : this.packet.state;
  }

  /** What may drop the packets at a point, each chain as if those before let them through. Chains in any order. */
  *at(point: Point, chains: readonly Chain[]): Generator<Culprit> {
    this.#point = point;
    const met = chains.filter(({ base }) => base !== undefined && isMet(base, point))
      .sort((a, b) => a.base!.priority - b.base!.priority);
    for (const chain of met) {
      this.#priority = chain.base!.priority;
      const walk = new Walk(this);
      const drop = walk.run(chain);
      yield* walk.doubts;
      if (drop !== undefined) yield drop;
    }
  }

  /** More rules were judged than there is time for. */
  get exhausted(): boolean {
    return this.#judged > MOST_RULES;
  }

  /** One rule: do its conditions hold, and what is its verdict. */
  judge(rule: Rule, doubtful: boolean): { truth: Truth; verdict?: Verdict } {
    this.#judged++;
    this.unsure =
      this.#named =
      this.#others =
      this.#rate =
      this.#depends =
        false;
    this.#doubtful = doubtful;
    for (const step of rule.steps) {
      const result = step(this);
      if (result === false) return { truth: false };
      if (result === undefined || result === "rate") this.unsure = true;
      if (result === "rate") this.#rate = true;
      if (result === undefined) this.#depends = true;
      if (typeof result === "object") {
        return { truth: this.unsure ? undefined : true, verdict: result };
      }
    }
    return { truth: undefined };
  }
}

function isMet(base: NonNullable<Chain["base"]>, { layer, hook, iif, oif }: Point): boolean {
  if (base.layer !== layer || base.hook !== hook) return false;
  const devices = hook === "ingress" ? iif : oif;
  return layer !== "netdev" || devices === "any" ||
    devices.some(({ name }) => base.devices.includes(name));
}

/** How a chain ends for a packet: `accept`, a drop, or undefined where it goes on in the calling chain. */
type Ending = "accept" | { culprit: Omit<Culprit, "which">; named: boolean } | undefined;

/** One base chain. */
class Walk {
  readonly doubts: Culprit[] = [];
  /** A rule may have accepted them, or could not be read. */
  #accepted = false;

  constructor(readonly e: Evaluation) {}

  run(chain: Chain): Culprit | undefined {
    const ending = this.#chain(chain, { doubtful: false, named: false, depth: 0 });
    const which = this.#accepted ? "left" : "all";
    if (ending === undefined) {
      return chain.base!.policy === "drop" ? { chain, which } : undefined;
    }
    return ending === "accept" ? undefined : { ...ending.culprit, which };
  }

  #chain(chain: Chain, path: { doubtful: boolean; named: boolean; depth: number }): Ending {
    const rules = path.depth > MOST_JUMPS || this.e.exhausted ? undefined : chain.rules();
    if (rules === undefined) this.#accepted = true;
    for (const rule of rules ?? []) {
      const { truth, verdict } = this.e.judge(rule, path.doubtful);
      if (truth === false || verdict === undefined) continue;
      const sure = truth === true;
      const named = path.named || this.e.named;
      if (verdict.kind === "return") {
        if (sure) return undefined;
        continue;
      }
      const ending = this.#follow(chain, rule, verdict, {
        doubtful: path.doubtful || !sure,
        named,
        depth: path.depth + 1,
      });
      if (sure && (ending !== undefined || verdict.kind === "goto")) return ending;
      if (ending !== undefined) this.#doubt(ending);
    }
    return undefined;
  }

  #follow(
    chain: Chain,
    rule: Rule,
    verdict: Verdict,
    path: { doubtful: boolean; named: boolean; depth: number },
  ): Ending {
    if (verdict.kind === "accept") return "accept";
    const drop = { culprit: { chain, rule }, named: path.named };
    if (verdict.kind === "drop") return drop;
    if (verdict.kind === "queue") {
      this.#doubt({ ...drop, named: true }); // a program decides
      return "accept";
    }
    const target = "chain" in verdict ? chain.sibling(verdict.chain) : undefined;
    return target && this.#chain(target, path);
  }

  #doubt(ending: NonNullable<Ending>): void {
    if (ending === "accept") this.#accepted = true;
    else if (ending.named) this.doubts.push({ ...ending.culprit, which: "some" });
  }
}
