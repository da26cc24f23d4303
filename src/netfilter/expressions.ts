/**
 * Expressions of nftables as the kernel keeps them (include/uapi/linux/netfilter/nf_tables.h): instructions that load parts of
 * a packet to registers and compare them. Those that are not interpreted may hold or not.
 */
import type { Reader } from "../linux/netlink.ts";
import {
  type Bits,
  equals,
  every,
  exact,
  isKnown,
  isLess,
  masked,
  not,
  slice,
  swapped,
  type Truth,
  unknown,
} from "./bits.ts";
import type { Step, Verdict } from "./chain.ts";
import {
  type Attrs,
  loadCt,
  loadFib,
  loadMeta,
  loadPayload,
  namesIn,
  noteNames,
  number,
  place,
  store,
  text,
} from "./loads.ts";
import { xtMatch, xtTarget } from "./xt.ts";

/** Asks the kernel about a key in a set of the table, which may be longer than the set's keys; undefined: it cannot be read. */
type FindElement = (set: string, key: Uint8Array) => Found | undefined;

export interface Found {
  /** Bytes of the set's keys. */
  readonly keyLength: number;
  /** The set has the key. */
  readonly present: boolean;
  /** Of a map of verdicts. */
  readonly verdict?: Verdict;
  /** Of another map. */
  readonly data?: Uint8Array;
}

/** Attributes of an expression, and what its rule's table has. */
interface Source {
  readonly attrs: Attrs;
  readonly find: FindElement;
}

const EXPR = { NAME: 1, DATA: 2 } as const;

/** The steps of a rule. @param expressions NFTA_RULE_EXPRESSIONS */
export function compile(expressions: Reader | undefined, find: FindElement): Step[] {
  return (expressions?.list() ?? []).map((one): Step => {
    const outer = one.attrs();
    const name = outer.get(EXPR.NAME)?.text() ?? "";
    return (COMPILERS[name] ?? opaque)({ attrs: outer.get(EXPR.DATA)?.attrs() ?? new Map(), find });
  });
}

/** Not interpreted: it may hold, and have changed any register. */
const opaque = (): Step => (e) => {
  e.registers = unknown(64);
  e.names.clear();
  return undefined;
};
/** Holds up to a rate, or above one. */
const rate = (): Step => () => "rate";
const neutral = (): Step => () => true;
const final = (kind: "accept" | "drop" | "queue") => (): Step => () => ({ kind });

const DYNSET = { EXPRESSION: 7, EXPRESSIONS: 10 } as const;

const COMPILERS: Readonly<Record<string, (source: Source) => Step>> = {
  payload: ({ attrs }) => loadPayload(attrs),
  meta: ({ attrs }) => loadMeta(attrs),
  ct: ({ attrs }) => loadCt(attrs),
  fib: ({ attrs }) => loadFib(attrs),
  cmp: compileCmp,
  range: compileRange,
  bitwise: compileBitwise,
  byteorder: compileByteorder,
  immediate: compileImmediate,
  lookup: compileLookup,
  match: ({ attrs }) => xtMatch(text(attrs, 1), number(attrs, 2), attrs.get(3)),
  target: ({ attrs }) => xtTarget(text(attrs, 1), number(attrs, 2), attrs.get(3)),
  reject: final("drop"),
  fwd: final("drop"),
  // The packet goes on with other addresses.
  nat: final("accept"),
  masq: final("accept"),
  redir: final("accept"),
  tproxy: final("accept"),
  synproxy: final("accept"),
  queue: final("queue"),
  notrack: () => (e) => {
    e.untracked = e.doubtful ? undefined : true;
    return true;
  },
  counter: neutral,
  log: neutral,
  last: neutral,
  objref: neutral,
  dup: neutral,
  flow_offload: neutral,
  // Adds the packet's key to a set; with an expression of the element, such as its rate.
  dynset: ({ attrs }) =>
    attrs.has(DYNSET.EXPRESSION) || attrs.has(DYNSET.EXPRESSIONS) ? rate() : neutral(),
  limit: rate,
  quota: rate,
  connlimit: rate,
};

/** NFTA_DATA_VALUE of nested data. */
function data(attrs: Attrs, type: number): Uint8Array {
  return attrs.get(type)?.attrs().get(1)?.bytes ?? new Uint8Array(0);
}

const OP = { EQ: 0, NEQ: 1, LT: 2, LTE: 3, GT: 4, GTE: 5 } as const;

function compileCmp({ attrs }: Source): Step {
  const register = number(attrs, 1), op = number(attrs, 2), wanted = data(attrs, 3);
  return (e) => {
    const bits = slice(e.registers, place(register), wanted.length);
    const truth = compare(bits, op, wanted);
    if (op === OP.EQ) noteNames(e, register, wanted.length, truth);
    return truth;
  };
}

function compare(bits: Bits, op: number, wanted: Uint8Array): Truth {
  const same = equals(bits, wanted), less = isLess(bits, wanted);
  switch (op) {
    case OP.EQ:
      return same;
    case OP.NEQ:
      return not(same);
    case OP.LT:
      return less;
    case OP.GTE:
      return not(less);
    case OP.LTE:
      return same === true || less === true ? true : same === false ? less : undefined;
    case OP.GT:
      return not(compare(bits, OP.LTE, wanted));
    default:
      return undefined;
  }
}

function compileRange({ attrs }: Source): Step {
  const register = number(attrs, 1), op = number(attrs, 2);
  const from = data(attrs, 3), to = data(attrs, 4);
  return (e) => {
    const bits = slice(e.registers, place(register), from.length);
    const within = every([compare(bits, OP.GTE, from), compare(bits, OP.LTE, to)]);
    if (op === OP.NEQ) return not(within);
    noteNames(e, register, from.length, within);
    return within;
  };
}

const BITWISE = { MASK_XOR: 0, LSHIFT: 1, RSHIFT: 2 } as const;

function compileBitwise({ attrs }: Source): Step {
  const from = number(attrs, 1), to = number(attrs, 2), length = number(attrs, 3);
  const mask = data(attrs, 4), flip = data(attrs, 5), op = number(attrs, 6);
  return (e) => {
    const bits = slice(e.registers, place(from), length);
    const result = op === BITWISE.MASK_XOR ? masked(bits, mask, flip) : unknown(length);
    return store(e, to, result, namesIn(e, from, length));
  };
}

function compileByteorder({ attrs }: Source): Step {
  const from = number(attrs, 1), to = number(attrs, 2);
  const length = number(attrs, 4), unit = number(attrs, 5);
  return (e) =>
    store(e, to, swapped(slice(e.registers, place(from), length), unit), namesIn(e, from, length));
}

function compileImmediate({ attrs }: Source): Step {
  const register = number(attrs, 1);
  if (register !== 0) return (e) => store(e, register, exact(data(attrs, 2)));
  const verdict = readVerdict(attrs.get(2));
  return () => verdict ?? true;
}

const NF = { DROP: 0, ACCEPT: 1, QUEUE: 3 } as const;
const NFT = { CONTINUE: -1, JUMP: -3, GOTO: -4, RETURN: -5 } as const;
const VERDICT_MASK = 0xff;

/** NFTA_DATA_VERDICT of nested data; undefined: the rule goes on. */
export function readVerdict(nested: Reader | undefined): Verdict | undefined {
  const attrs = nested?.attrs().get(2)?.attrs();
  const code = attrs?.get(1)?.view.getInt32(0) ?? NFT.CONTINUE;
  const chain = attrs?.get(2)?.text() ?? "";
  if (code === NFT.JUMP) return { kind: "jump", chain };
  if (code === NFT.GOTO) return { kind: "goto", chain };
  if (code === NFT.RETURN) return { kind: "return" };
  if (code < 0) return undefined;
  if ((code & VERDICT_MASK) === NF.QUEUE) return { kind: "queue" };
  return { kind: code === NF.ACCEPT ? "accept" : "drop" };
}

const LOOKUP_INVERTED = 1;

function compileLookup({ attrs, find }: Source): Step {
  const set = text(attrs, 1), from = number(attrs, 2), to = attrs.get(3)?.view.getUint32(0);
  const inverted = (number(attrs, 5) & LOOKUP_INVERTED) !== 0;
  return (e) => {
    const at = place(from);
    const found = find(set, e.registers.value.slice(at));
    const key = slice(e.registers, at, found?.keyLength ?? 0);
    const truth = found === undefined || !isKnown(key) ? undefined : found.present;
    if (found?.present) noteNames(e, from, found.keyLength, truth);
    if (to === undefined) return inverted ? not(truth) : truth;
    if (truth === false) return false;
    if (to !== 0) {
      store(e, to, truth && found?.data ? exact(found.data) : unknown(16));
      return truth;
    }
    if (truth === undefined) e.unsure = true;
    // Another element may accept the packet.
    return found?.present ? found.verdict ?? true : { kind: "accept" };
  };
}
