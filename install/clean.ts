/**
 * What kube-proxy and other networks left on the machine, and the steps that take it away (`pcnk install --clean`): chains of
 * iptables and the rules that lead to them, tables of nftables, devices, CNI configurations. Only what bears their names.
 *
 * Limitation: who still runs writes his things anew, so kube-proxy's and the other network's DaemonSets must be gone first.
 * Kernel state that has no name of theirs stays: routes, policies of built-in chains, addresses on devices of others.
 */
import type { Machine, RuleSet } from "./machine.ts";
import type { Step } from "./steps.ts";

/** Chains by who makes them. kubelet has some of kube-proxy's as well and makes them again. */
const CHAINS: readonly [RegExp, string][] = [
  [/^KUBE-/, "kube-proxy"],
  [/^FLANNEL-/, "flannel"],
  [/^cali-/, "Calico"],
  [/^(OLD_)?CILIUM_/, "Cilium"],
  [/^WEAVE/, "Weave Net"],
];

/** Rules of theirs in built-in chains that lead to no chain of theirs. */
const COMMENTS = /--comment "?(flanneld |cali:|cilium)/;

/** Devices by who makes them. Only names that nobody else gives. */
export const DEVICES: readonly [RegExp, string][] = [
  [/^flannel(\.|-v6\.)\d+$/, "flannel"],
  [/^vxlan(-v6)?\.calico$/, "Calico"],
  [/^cilium_(host|net|vxlan|geneve)$/, "Cilium"],
  [/^(weave|vethwe-bridge|vxlan-6784)$/, "Weave Net"],
  [/^kube-ipvs0$/, "kube-proxy"],
];

/** Plugins that only come with these networks. */
const PLUGINS: Readonly<Record<string, string>> = {
  flannel: "flannel",
  calico: "Calico",
  "calico-ipam": "Calico",
  "cilium-cni": "Cilium",
  "weave-net": "Weave Net",
};

/** Tables of nftables. */
const TABLES: Readonly<Record<string, string>> = { "kube-proxy": "kube-proxy", calico: "Calico" };

/** The steps, CNI configurations first: from then on no pod gets another network. */
export function cleanSteps(machine: Machine): Step[] {
  return [
    ...configurations(machine),
    ...machine.rules().flatMap(chains),
    ...machine.nftTables().flatMap(table),
    ...devices(machine),
  ];
}

function configurations(machine: Machine): Step[] {
  const folder = "/etc/cni/net.d";
  return machine.list(folder).flatMap((name): Step[] => {
    const path = `${folder}/${name}`;
    const owner = ownerOfConfiguration(machine.text(path) ?? "");
    return owner === undefined ? [] : [{ do: "remove-file", path, why: `${owner}'s network` }];
  });
}

/** Whose CNI configuration it is, by the plugins in it; undefined: not one of those above. */
export function ownerOfConfiguration(text: string): string | undefined {
  try {
    const list = JSON.parse(text);
    const plugins: { type?: unknown }[] = Array.isArray(list?.plugins) ? list.plugins : [list];
    return plugins.map(({ type }) => PLUGINS[String(type)]).find((owner) => owner !== undefined);
  } catch {
    return undefined;
  }
}

function chains({ restore, text }: RuleSet): Step[] {
  const { input, owners, count } = chainRemoval(text);
  if (count === 0) return [];
  const why = `${count} chains and rules of ${owners.join(", ")} go`;
  return [{ do: "run", command: [restore, "--noflush"], input, why }];
}

/**
 * What iptables-restore (with --noflush) must read to take their chains away, and the rules that lead to them. Nothing else is touched.
 *
 * @param text as iptables-save writes it
 */
export function chainRemoval(text: string): { input: string; owners: string[]; count: number } {
  const owners = new Set<string>();
  const out: string[] = [];
  let count = 0;
  for (const [, name, body = ""] of text.matchAll(/^\*(\w+)\n([\s\S]*?)^COMMIT$/gm)) {
    const lines = body.split("\n");
    const own = new Set<string>();
    for (const line of lines) {
      const chain = /^:(\S+)/.exec(line)?.[1];
      const owner = chain && CHAINS.find(([pattern]) => pattern.test(chain))?.[1];
      if (!chain || !owner) continue;
      own.add(chain);
      owners.add(owner);
    }
    const rules = lines.filter((line) => {
      const [, chain = "", rest = ""] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
      if (chain === "" || own.has(chain)) return false;
      const target = / ?-[jg] (\S+)/.exec(rest)?.[1] ?? "";
      return own.has(target) || COMMENTS.test(rest);
    });
    if (own.size + rules.length === 0) continue;
    count += own.size + rules.length;
    // A chain that is declared is emptied; when all are empty none refers to another, and all can go.
    out.push(`*${name}`, ...[...own].map((chain) => `:${chain} - [0:0]`));
    out.push(
      ...rules.map((rule) => rule.replace(/^-A /, "-D ")),
      ...[...own].map((chain) => `-X ${chain}`),
    );
    out.push("COMMIT");
  }
  return { input: out.join("\n") + "\n", owners: [...owners].sort(), count };
}

function table(line: string): Step[] {
  const [, family, name = ""] = /^table (\w+) (\S+)$/.exec(line) ?? [];
  const owner = TABLES[name];
  if (family === undefined || owner === undefined) return [];
  return [{
    do: "run",
    command: ["nft", "delete", "table", family, name],
    why: `it is ${owner}'s`,
  }];
}

function devices(machine: Machine): Step[] {
  if (!machine.live) return [];
  return machine.list("/sys/class/net").flatMap((device): Step[] => {
    const owner = DEVICES.find(([pattern]) => pattern.test(device))?.[1];
    const command = ["ip", "link", "del", device];
    // Of a pair the other one goes with the first.
    return owner === undefined
      ? []
      : [{ do: "run", command, why: `it is ${owner}'s`, optional: true }];
  });
}
