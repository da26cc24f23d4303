/** Chains of legacy iptables (include/uapi/linux/netfilter_ipv4/ip_tables.h), by getsockopt(2), of the tables that are in use. */
import { closeFd, syscall } from "../linux/libc.ts";
import { Reader } from "../linux/netlink.ts";
import {
  type Bits,
  equals,
  every,
  exact,
  isPartlyKnown,
  masked,
  not,
  slice,
  type Truth,
} from "./bits.ts";
import type { Chain, Evaluation, Hook, Rule, Step, Verdict } from "./chain.ts";
import { nameBits } from "./packet.ts";
import { xtMatch, xtTarget } from "./xt.ts";

const SOCK_RAW = 3, AF_INET = 2, IPPROTO_RAW = 255, SOL_IP = 0;
const IPT_SO_GET_INFO = 64, IPT_SO_GET_ENTRIES = 65;
/** enum nf_inet_hooks, in its order. */
const HOOKS: readonly Hook[] = ["prerouting", "input", "forward", "output", "postrouting"];
/** Priorities of tables (enum nf_ip_hook_priorities), at each hook that they have; those of `nat` differ. */
const PRIORITY: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  filter: 0,
  security: 50,
};
const NAT_PRIORITY: Partial<Readonly<Record<Hook, number>>> = { prerouting: -100, output: -100 };
/** Larger tables are not read. */
const MOST_BYTES = 16 << 20;

/** Offsets and sizes of struct ipt_getinfo, ipt_get_entries, ipt_entry, xt_entry_match and xt_entry_target. */
const INFO = { size: 84, valid: 32, entry: 36, underflow: 56, entries: 80 };
const ENTRIES = { size: 32, table: 40 };
const ENTRY = { target: 88, next: 90, matches: 112 };
const PART = { size: 0, name: 2, revision: 31, data: 32 };
const IP = { src: 0, dst: 4, srcMask: 8, dstMask: 12, iif: 16, oif: 32, iifMask: 48, oifMask: 64 };
const IP_REST = { protocol: 80, flags: 82, inverted: 83 };
const FLAG = { FRAGMENT: 1, GOTO: 2 } as const;
const INVERTED = { IIF: 1, OIF: 2, SRC: 8, DST: 16, FRAGMENT: 32, PROTOCOL: 64 } as const;
/** Standard verdicts: -NF_… - 1; XT_RETURN is -NF_REPEAT - 1. */
const STANDARD: Readonly<Record<number, Verdict>> = {
  [-1]: { kind: "drop" },
  [-2]: { kind: "accept" },
  [-4]: { kind: "queue" },
  [-5]: { kind: "return" },
};

/** Their base chains. @throws {SyscallError} */
export function legacyChains(): Chain[] {
  const tables = tableNames(); // asking for one that is not in use would load its module
  if (tables.length === 0) return [];
  const fd = syscall("socket", AF_INET, SOCK_RAW, IPPROTO_RAW);
  try {
    return tables.flatMap((table) => new LegacyTable(fd, table).chains());
  } finally {
    closeFd(fd);
  }
}

function tableNames(): string[] {
  try {
    return Deno.readTextFileSync("/proc/thread-self/net/ip_tables_names").split("\n").filter(
      Boolean,
    );
  } catch {
    return [];
  }
}

/** Reads into `value`, which begins with the table's name. */
function getsockopt(fd: number, option: number, table: string, value: Uint8Array<ArrayBuffer>) {
  value.set(new TextEncoder().encode(table));
  const length = new Uint8Array(new Uint32Array([value.length]).buffer);
  syscall("getsockopt", fd, SOL_IP, option, value, length);
  return new Reader(value);
}

class LegacyTable {
  readonly #info: Reader;
  /** Its entries; undefined: too many. */
  readonly #entries: Reader | undefined;
  /** Chains of its user by the offset of their first rule. */
  readonly #names = new Map<number, string>();

  constructor(fd: number, readonly name: string) {
    this.#info = getsockopt(fd, IPT_SO_GET_INFO, name, new Uint8Array(INFO.size));
    const size = this.#info.u32(INFO.entries);
    if (size > MOST_BYTES) return;
    const asked = new Uint8Array(ENTRIES.table + size);
    new DataView(asked.buffer).setUint32(ENTRIES.size, size, true);
    const { bytes } = getsockopt(fd, IPT_SO_GET_ENTRIES, name, asked);
    this.#entries = new Reader(bytes.subarray(ENTRIES.table));
    for (let at = 0; at < size; at += this.#entry(at).next) {
      const { target, next } = this.#entry(at);
      if (target.name === "ERROR") this.#names.set(at + next, target.data.text());
    }
  }

  chains(): Chain[] {
    return HOOKS.flatMap((hook, i) => {
      if ((this.#info.u32(INFO.valid) & 1 << i) === 0) return [];
      const first = this.#info.u32(INFO.entry + 4 * i);
      const end = this.#info.u32(INFO.underflow + 4 * i);
      const chain = this.#chain(hook.toUpperCase(), first, end);
      const policy = this.#entries === undefined || this.#verdict(end)?.kind !== "drop"
        ? "accept"
        : "drop";
      const priority = PRIORITY[this.name] ?? NAT_PRIORITY[hook] ?? 100;
      return [{ ...chain, base: { layer: "ip", hook, priority, policy, devices: [] } }];
    });
  }

  /** The chain whose rules begin at `first`, up to its policy at `end` or to the next chain. */
  #chain(name: string, first: number, end?: number): Chain {
    let rules: Rule[] | undefined;
    return {
      name: `iptables-legacy ${this.name} ${name}`,
      shown: `iptables-legacy -t ${this.name} -nvL ${name} --line-numbers`,
      rules: () => rules ??= this.#entries && this.#rules(first, end),
      sibling: (offset) => {
        const name = this.#names.get(Number(offset));
        return name === undefined ? undefined : this.#chain(name, Number(offset));
      },
    };
  }

  #rules(first: number, end: number | undefined): Rule[] {
    const rules: Rule[] = [];
    for (let at = first; at !== end && this.#entry(at).target.name !== "ERROR";) {
      rules.push({ name: `rule ${rules.length + 1}`, steps: this.#steps(at) });
      at += this.#entry(at).next;
    }
    return rules;
  }

  #part(at: number) {
    const entries = this.#entries!;
    const size = entries.u16(at + PART.size);
    const part = new Reader(entries.bytes.subarray(at, at + size));
    return {
      size,
      name: new Reader(part.bytes.subarray(PART.name, PART.revision)).text(),
      revision: part.u8(PART.revision),
      data: new Reader(part.bytes.subarray(PART.data)),
    };
  }

  #entry(at: number) {
    const entries = this.#entries!;
    const target = entries.u16(at + ENTRY.target);
    return {
      next: entries.u16(at + ENTRY.next),
      targetAt: at + target,
      target: this.#part(at + target),
    };
  }

  #verdict(at: number): Verdict | undefined {
    const { target, next } = this.#entry(at);
    const verdict = target.data.view.getInt32(0, true);
    if (verdict < 0) return STANDARD[verdict];
    if (verdict === at + next) return undefined; // a rule without target
    const isGoto = (this.#entries!.u8(at + IP_REST.flags) & FLAG.GOTO) !== 0;
    return { kind: isGoto ? "goto" : "jump", chain: `${verdict}` };
  }

  #steps(at: number): Step[] {
    const { target, targetAt } = this.#entry(at);
    const ip = new Reader(this.#entries!.bytes.subarray(at, at + ENTRY.matches));
    const steps: Step[] = [(e) => headerHolds(e, ip)];
    for (let match = at + ENTRY.matches; match < targetAt;) {
      const { size, name, revision, data } = this.#part(match);
      steps.push(xtMatch(name, revision, data));
      match += size;
    }
    if (target.name === "") {
      const verdict = this.#verdict(at);
      return verdict === undefined ? steps : [...steps, () => verdict];
    }
    return [...steps, xtTarget(target.name, target.revision, target.data)];
  }
}

/** struct ipt_ip */
function headerHolds(e: Evaluation, ip: Reader): Truth {
  const { packet, point } = e;
  const inverted = ip.u8(IP_REST.inverted);
  const field = (bits: Bits, at: number, mask: number, flag: number): Truth => {
    const none = new Uint8Array(bits.value.length);
    const part = (from: number) => ip.bytes.subarray(from, from + none.length);
    if (part(mask).every((byte) => byte === 0)) return true;
    const wanted = masked(exact(part(at)), part(mask), none).value; // `pcnk+` has the plus sign
    const truth = equals(masked(bits, part(mask), none), wanted);
    if ((inverted & flag) !== 0) return not(truth);
    e.noteName(isPartlyKnown(bits), truth);
    return truth;
  };
  const protocol = ip.u16(IP_REST.protocol);
  const own = equals(exact(Uint8Array.of(packet.protocol)), Uint8Array.of(protocol));
  const later = (ip.u8(IP_REST.flags) & FLAG.FRAGMENT) === 0 ? true : not(
    equals(
      masked(slice(packet.network, 6, 2), Uint8Array.of(0x1f, 255), new Uint8Array(2)),
      new Uint8Array(2),
    ),
  );
  return every([
    field(slice(packet.network, 12, 4), IP.src, IP.srcMask, INVERTED.SRC),
    field(slice(packet.network, 16, 4), IP.dst, IP.dstMask, INVERTED.DST),
    field(nameBits(point.iif), IP.iif, IP.iifMask, INVERTED.IIF),
    field(nameBits(point.oif), IP.oif, IP.oifMask, INVERTED.OIF),
    protocol === 0 || (inverted & INVERTED.PROTOCOL ? not(own) : own),
    inverted & INVERTED.FRAGMENT ? not(later) : later,
  ]);
}
