/**
 * Chains of nftables in the present network namespace, which is also where iptables-nft, ebtables-nft and arptables-nft have
 * theirs, by netlink (include/uapi/linux/netfilter/nf_tables.h).
 *
 * Limitation: chains with which it would be more than MOST_RULES are not read.
 */
import { SyscallError } from "../linux/libc.ts";
import { Message, NetlinkSocket, type Reader, type Received } from "../linux/netlink.ts";
import type { Chain, Hook, Layer, Rule } from "./chain.ts";
import { compile, type Found, readVerdict } from "./expressions.ts";

const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_NFTABLES = 10 << 8;
const GET = {
  TABLE: NFNL_SUBSYS_NFTABLES | 1,
  CHAIN: NFNL_SUBSYS_NFTABLES | 4,
  RULE: NFNL_SUBSYS_NFTABLES | 7,
  SET: NFNL_SUBSYS_NFTABLES | 10,
  ELEMENT: NFNL_SUBSYS_NFTABLES | 13,
} as const;
const NFGENMSG = 4;
const TABLE = { NAME: 1, FLAGS: 2 } as const;
const TABLE_DORMANT = 1;
const CHAIN = { TABLE: 1, NAME: 3, HOOK: 4, POLICY: 5, USE: 6 } as const;
const HOOK = { NUMBER: 1, PRIORITY: 2, DEVICE: 3, DEVICES: 4 } as const;
const RULE = { TABLE: 1, CHAIN: 2, HANDLE: 3, EXPRESSIONS: 4 } as const;
const SET = { TABLE: 1, NAME: 2, KEY_LENGTH: 5 } as const;
const ELEMENTS = { TABLE: 1, SET: 2, LIST: 3 } as const;
const ELEMENT = { KEY: 1, DATA: 2 } as const;
const VALUE = 1;
const NF_DROP = 0;
/** Bounds time and memory where kube-proxy, say, has 100,000 rules. */
const MOST_RULES = 10_000;

const INET: readonly Hook[] = ["prerouting", "input", "forward", "output", "postrouting"];
/** Families by number (enum nf_inet): their names and hooks. */
const FAMILIES: Readonly<Record<number, { name: string; layer: Layer; hooks: readonly Hook[] }>> = {
  1: { name: "inet", layer: "ip", hooks: [...INET, "ingress"] },
  2: { name: "ip", layer: "ip", hooks: INET },
  3: { name: "arp", layer: "arp", hooks: ["input", "output", "forward"] },
  5: { name: "netdev", layer: "netdev", hooks: ["ingress", "egress"] },
  7: { name: "bridge", layer: "bridge", hooks: INET },
};

/** Reads the chains now, their rules when asked for. Close it afterwards. */
export class Nftables implements Disposable {
  readonly chains: readonly Chain[];
  readonly #socket: NetlinkSocket;
  readonly #byName = new Map<string, NftChain>();
  #left = MOST_RULES;

  /** @throws {SyscallError} */
  constructor() {
    this.#socket = NetlinkSocket.open(undefined, { protocol: NETLINK_NETFILTER });
    try {
      const dormant = new Set(this.#dormant());
      const found = this.#dump("NFT_MSG_GETCHAIN", GET.CHAIN)
        .filter(({ body }) => FAMILIES[body.u8(0)] !== undefined)
        .map(({ body }) => new NftChain(this, body));
      for (const chain of found) this.#byName.set(chain.name, chain);
      this.chains = found.filter(({ table }) => !dormant.has(table));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #dormant(): string[] {
    return this.#dump("NFT_MSG_GETTABLE", GET.TABLE)
      .map(({ body }) => ({ family: body.u8(0), attrs: body.attrs(NFGENMSG) }))
      .filter(({ attrs }) =>
        ((attrs.get(TABLE.FLAGS)?.view.getUint32(0) ?? 0) & TABLE_DORMANT) !== 0
      )
      .map(({ family, attrs }) => `${FAMILIES[family]?.name} ${attrs.get(TABLE.NAME)?.text()}`);
  }

  #dump(what: string, type: number): Received[] {
    return this.#socket.dump(what, type, header(0));
  }

  /** Is there a chain of this name in any table? */
  has(chain: string): boolean {
    return [...this.#byName.keys()].some((name) => name.endsWith(` ${chain}`));
  }

  chain(name: string): Chain | undefined {
    return this.#byName.get(name);
  }

  /** @param use how many rules it has, and jumps to it, at least one of both; undefined: too many */
  rules(family: number, table: string, chain: string, use: number): Rule[] | undefined {
    if (use > this.#left) return undefined;
    this.#left -= use;
    const wanted = header(family).attrString(RULE.TABLE, table).attrString(RULE.CHAIN, chain);
    const find = this.#finder(family, table);
    return this.#socket.dump("NFT_MSG_GETRULE", GET.RULE, wanted).map(({ body }): Rule => {
      const attrs = body.attrs(NFGENMSG);
      const handle = attrs.get(RULE.HANDLE)?.view.getBigUint64(0) ?? 0n;
      return { name: `handle ${handle}`, steps: compile(attrs.get(RULE.EXPRESSIONS), find) };
    });
  }

  /** Of each set and key, the kernel is asked once. */
  #finder(family: number, table: string) {
    const found = new Map<string, Found | undefined>();
    return (set: string, key: Uint8Array): Found | undefined => {
      const id = `${set} ${key.join()}`;
      if (!found.has(id)) found.set(id, this.#find(family, table, set, key));
      return found.get(id);
    };
  }

  #find(family: number, table: string, set: string, bytes: Uint8Array): Found | undefined {
    try {
      const asked = header(family).attrString(SET.TABLE, table).attrString(SET.NAME, set);
      const [about] = this.#socket.request("NFT_MSG_GETSET", GET.SET, 0, asked);
      const keyLength = about?.body.attrs(NFGENMSG).get(SET.KEY_LENGTH)?.view.getUint32(0) ?? 0;
      return { keyLength, ...this.#element(family, table, set, bytes.subarray(0, keyLength)) };
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      return undefined;
    }
  }

  #element(family: number, table: string, set: string, key: Uint8Array): Omit<Found, "keyLength"> {
    const asked = header(family).attrString(ELEMENTS.TABLE, table).attrString(ELEMENTS.SET, set)
      .nest(
        ELEMENTS.LIST,
        (list) =>
          list.nest(VALUE, (element) => element.nest(ELEMENT.KEY, (data) => data.attr(VALUE, key))),
      );
    try {
      const [reply] = this.#socket.request("NFT_MSG_GETSETELEM", GET.ELEMENT, 0, asked);
      const [element] = reply?.body.attrs(NFGENMSG).get(ELEMENTS.LIST)?.list() ?? [];
      const data = element?.attrs().get(ELEMENT.DATA);
      return { present: true, verdict: readVerdict(data), data: data?.attrs().get(VALUE)?.bytes };
    } catch (error) {
      if (error instanceof SyscallError && error.code === "ENOENT") return { present: false };
      throw error;
    }
  }

  close(): void {
    this.#socket.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/** struct nfgenmsg */
function header(family: number): Message {
  return new Message().u8(family).u8(0).u16(0);
}

class NftChain implements Chain {
  readonly name: string;
  /** `ip filter` */
  readonly table: string;
  readonly base?: NonNullable<Chain["base"]>;
  readonly #family: number;
  readonly #attrs: Map<number, Reader>;
  readonly #ruleset: Nftables;
  #rules: Rule[] | undefined;
  #read = false;

  constructor(ruleset: Nftables, body: Reader) {
    this.#ruleset = ruleset;
    this.#family = body.u8(0);
    this.#attrs = body.attrs(NFGENMSG);
    this.table = `${FAMILIES[this.#family]!.name} ${this.#text(CHAIN.TABLE)}`;
    this.name = `${this.table} ${this.#text(CHAIN.NAME)}`;
    this.base = this.#base();
  }

  get shown(): string {
    return `nft -a list chain ${this.name}`;
  }

  #text(type: number): string {
    return this.#attrs.get(type)?.text() ?? "";
  }

  #base(): Chain["base"] {
    const hook = this.#attrs.get(CHAIN.HOOK)?.attrs();
    const { layer, hooks } = FAMILIES[this.#family]!;
    const name = hooks[hook?.get(HOOK.NUMBER)?.view.getUint32(0) ?? -1];
    if (hook === undefined || name === undefined) return undefined;
    const one = hook.get(HOOK.DEVICE)?.text();
    return {
      layer: name === "ingress" ? "netdev" : layer,
      hook: name,
      priority: hook.get(HOOK.PRIORITY)?.view.getInt32(0) ?? 0,
      policy: this.#attrs.get(CHAIN.POLICY)?.view.getUint32(0) === NF_DROP ? "drop" : "accept",
      devices: [
        ...(one === undefined ? [] : [one]),
        ...(hook.get(HOOK.DEVICES)?.list() ?? []).map((device) => device.text()),
      ],
    };
  }

  rules(): Rule[] | undefined {
    if (!this.#read) {
      const use = this.#attrs.get(CHAIN.USE)?.view.getUint32(0) ?? 1;
      const [table, name] = [this.#text(CHAIN.TABLE), this.#text(CHAIN.NAME)];
      this.#rules = this.#ruleset.rules(this.#family, table, name, use);
      this.#read = true;
    }
    return this.#rules;
  }

  sibling(name: string): Chain | undefined {
    return this.#ruleset.chain(`${this.table} ${name}`);
  }
}
