/**
 * The netfilter chains of a network namespace that drop or reject what no rule before accepts: of nftables, which is also
 * where iptables-nft has its rules, by netlink (include/uapi/linux/netfilter/nf_tables.h); of legacy iptables by getsockopt(2)
 * (include/uapi/linux/netfilter_ipv4/ip_tables.h). Rules are not interpreted, but for those without a condition.
 */
import { closeFd, syscall, SyscallError } from "./libc.ts";
import { Message, NetlinkSocket, Reader } from "./netlink.ts";

/** A chain at a hook that IPv4 packets pass. */
interface ClosedChain {
  /** `ip filter FORWARD`, as nft names it; `iptables-legacy filter FORWARD`. */
  readonly name: string;
  readonly hook: Hook;
  /** What ends a packet that no other rule takes: the chain's policy, or its last rule. */
  readonly by: "policy" | "rule";
}

/** The chains, and whether kube-proxy's are among them. */
export interface NetfilterState {
  readonly closed: ClosedChain[];
  readonly kubeProxy: boolean;
}

/** enum nf_inet_hooks, in its order. */
const HOOKS = ["prerouting", "input", "forward", "output", "postrouting"] as const;
type Hook = typeof HOOKS[number];

const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_NFTABLES = 10;
const GETCHAIN = NFNL_SUBSYS_NFTABLES << 8 | 4;
const GETRULE = NFNL_SUBSYS_NFTABLES << 8 | 7;
/** enum nf_inet families that IPv4 packets of a stack pass, by number. */
const FAMILIES: Readonly<Record<number, string>> = { 1: "inet", 2: "ip" };
const NFGENMSG = 4;
const CHAIN = { TABLE: 1, NAME: 3, HOOK: 4, POLICY: 5 } as const;
const RULE = { TABLE: 1, CHAIN: 2, EXPRESSIONS: 4 } as const;
const EXPR = { NAME: 1, DATA: 2 } as const;
const NF_DROP = 0;
/** Expressions that let every packet on. */
const NEUTRAL: ReadonlySet<string> = new Set(["counter", "log", "notrack"]);

/** Reads them. A kernel without nf_tables has none. @throws {SyscallError} */
export function readNetfilter(): NetfilterState {
  const legacy = legacyChains();
  try {
    const { closed, kubeProxy } = nftChains();
    return { closed: [...closed, ...legacy], kubeProxy };
  } catch (error) {
    const { code } = error as SyscallError;
    if (!(error instanceof SyscallError) || !["EPROTONOSUPPORT", "EINVAL"].includes(code)) {
      throw error;
    }
    return { closed: legacy, kubeProxy: false };
  }
}

function nftChains(): NetfilterState {
  using socket = NetlinkSocket.open(undefined, { protocol: NETLINK_NETFILTER });
  const all = socket.dump("NFT_MSG_GETCHAIN", GETCHAIN, new Message().u8(0).u8(0).u16(0));
  const chains = all.map(({ body }) => ({ family: body.u8(0), attrs: body.attrs(NFGENMSG) }))
    .filter(({ family }) => FAMILIES[family] !== undefined);
  const kubeProxy = chains.some(({ attrs }) => attrs.get(CHAIN.NAME)?.text() === "KUBE-SERVICES");
  const closed = chains.flatMap(({ family, attrs }): ClosedChain[] => {
    const hook = HOOKS[attrs.get(CHAIN.HOOK)?.attrs().get(1)?.view.getUint32(0) ?? -1];
    if (hook === undefined) return [];
    const table = attrs.get(CHAIN.TABLE)!.text(), chain = attrs.get(CHAIN.NAME)!.text();
    const dropping = attrs.get(CHAIN.POLICY)?.view.getUint32(0) === NF_DROP;
    if (!dropping && !hasBlanket(socket, family, table, chain)) return [];
    const name = `${FAMILIES[family]} ${table} ${chain}`;
    return [{ name, hook, by: dropping ? "policy" : "rule" }];
  });
  return { closed, kubeProxy };
}

/** Has this chain, of whose table there may be many thousand rules, one that drops or rejects every packet? */
function hasBlanket(socket: NetlinkSocket, family: number, table: string, chain: string): boolean {
  const wanted = new Message().u8(family).u8(0).u16(0)
    .attrString(RULE.TABLE, table).attrString(RULE.CHAIN, chain);
  return socket.dump("NFT_MSG_GETRULE", GETRULE, wanted)
    .some(({ body }) => isBlanket(body.attrs(NFGENMSG).get(RULE.EXPRESSIONS)));
}

/** Does a rule drop or reject every packet that comes to it? */
function isBlanket(expressions: Reader | undefined): boolean {
  const all = (expressions?.list() ?? []).map((one) => one.attrs())
    .map((attrs) => ({ name: attrs.get(EXPR.NAME)?.text() ?? "", data: attrs.get(EXPR.DATA) }))
    .filter(({ name }) => !NEUTRAL.has(name));
  const [only] = all;
  if (all.length !== 1 || only === undefined) return false;
  if (only.name === "reject") return true;
  // NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE
  const code = only.data?.attrs().get(2)?.attrs().get(2)?.attrs().get(1);
  return only.name === "immediate" && code?.view.getUint32(0) === NF_DROP;
}

const SOCK_RAW = 3, AF_INET = 2, IPPROTO_RAW = 255, SOL_IP = 0;
const IPT_SO_GET_INFO = 64, IPT_SO_GET_ENTRIES = 65;
/** Offsets and sizes of struct ipt_getinfo, ipt_get_entries, ipt_entry and xt_standard_target. */
const INFO = { size: 84, underflow: 56, entries: 80 }, ENTRIES = { size: 32, table: 40 };
const ENTRY = { target: 88 }, TARGET = { verdict: 32 };
/** -NF_DROP - 1 */
const LEGACY_DROP = -1;

/** Policies of legacy iptables' table `filter`, if it is in use: to ask for it otherwise would load the module. */
function legacyChains(): ClosedChain[] {
  if (!hasLegacyTable()) return [];
  const fd = syscall("socket", AF_INET, SOCK_RAW, IPPROTO_RAW);
  try {
    const info = getsockopt(fd, IPT_SO_GET_INFO, new Uint8Array(INFO.size));
    const size = info.u32(INFO.entries);
    const asked = new Uint8Array(ENTRIES.table + size);
    new DataView(asked.buffer).setUint32(ENTRIES.size, size, true);
    const { view } = getsockopt(fd, IPT_SO_GET_ENTRIES, asked);
    return (["input", "forward", "output"] as const).flatMap((hook): ClosedChain[] => {
      const entry = ENTRIES.table + info.u32(INFO.underflow + 4 * HOOKS.indexOf(hook));
      const target = entry + view.getUint16(entry + ENTRY.target, true);
      if (view.getInt32(target + TARGET.verdict, true) !== LEGACY_DROP) return [];
      return [{ name: `iptables-legacy filter ${hook.toUpperCase()}`, hook, by: "policy" }];
    });
  } finally {
    closeFd(fd);
  }
}

function hasLegacyTable(): boolean {
  try {
    return /^filter$/m.test(Deno.readTextFileSync("/proc/thread-self/net/ip_tables_names"));
  } catch {
    return false;
  }
}

/** Reads about the table `filter` into `value`. */
function getsockopt(fd: number, option: number, value: Uint8Array<ArrayBuffer>): Reader {
  value.set(new TextEncoder().encode("filter"));
  const length = new Uint8Array(new Uint32Array([value.length]).buffer);
  syscall("getsockopt", fd, SOL_IP, option, value, length);
  return new Reader(value);
}
