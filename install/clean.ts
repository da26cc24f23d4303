/**
 * What kube-proxy and other networks left on the machine, by name, and the steps that remove it (`pcnk install --clean`):
 * chains of iptables and the rules that jump to them, tables of nftables, devices, CNI configurations.
 *
 * Limitation: a kube-proxy or network that still runs writes them again, so their DaemonSets must be deleted first. Kernel
 * state without such a name stays: routes, policies of built-in chains, addresses on other devices.
 */
import type { Machine, RuleSet } from "./machine.ts";
import type { Step } from "./steps.ts";

/** Chains and their owners. kubelet shares some of kube-proxy's and writes them again. */
const CHAINS: readonly [RegExp, string][] = [
  [/^KUBE-/, "kube-proxy"],
  [/^FLANNEL-/, "flannel"],
  [/^cali-/, "Calico"],
  [/^(OLD_)?CILIUM_/, "Cilium"],
  [/^WEAVE/, "Weave Net"],
];

/** Rules of theirs in built-in chains that jump to no chain of theirs. */
const COMMENTS = /--comment "?(flanneld |cali:|cilium)/;

/** Devices and their owners: only names that are theirs alone. */
const DEVICES: readonly [RegExp, string][] = [
  [/^flannel(\.|-v6\.)\d+$/, "flannel"],
  [/^vxlan(-v6)?\.calico$/, "Calico"],
  [/^cilium_(host|net|vxlan|geneve)$/, "Cilium"],
  [/^(weave|vethwe-bridge|vxlan-6784)$/, "Weave Net"],
  [/^kube-ipvs0$/, "kube-proxy"],
];

/** Plugins that only these networks have. */
const PLUGINS: Readonly<Record<string, string>> = {
  flannel: "flannel",
  calico: "Calico",
  "calico-ipam": "Calico",
  "cilium-cni": "Cilium",
  "weave-net": "Weave Net",
};

/** Tables of nftables. */
const TABLES: Readonly<Record<string, string>> = { "kube-proxy": "kube-proxy", calico: "Calico" };

/** The steps; CNI configurations first, so that no further pod gets another network. */
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
  const why = `delete ${count} chains and rules of ${owners.join(", ")}`;
  return [{ do: "run", command: [restore, "--noflush"], input, why }];
}

/**
 * The input of iptables-restore --noflush that deletes their chains and the rules that jump to them, and nothing else.
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
    // Declaring a chain flushes it; once all are empty none refers to another, and all can be deleted.
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
    // The second of a veth pair goes with the first.
    return owner === undefined
      ? []
      : [{ do: "run", command, why: `it is ${owner}'s`, optional: true }];
  });
}

/** What `pcnk install` without `--clean` reports: other networks' configurations and devices, one line each. */
export function foreignNetworks(machine: Pick<Machine, "list" | "live">): string[] {
  const notes = machine.list("/etc/cni/net.d")
    .filter((name) => /\.(conf|conflist|json)$/.test(name) && !name.startsWith("10-pcnk."))
    .map((name) =>
      `/etc/cni/net.d/${name} is another network's: ${
        name < "10-pcnk.conflist"
          ? "pods get that one until it is removed"
          : "remove it when that network is gone"
      }`
    );
  const devices = machine.live ? machine.list("/sys/class/net") : [];
  for (const device of devices) {
    const [, owner] = DEVICES.find(([pattern]) => pattern.test(device)) ?? [];
    if (owner === undefined) continue;
    notes.push(
      `device ${device} is ${owner}'s; when that is gone: pcnk install --clean, or ip link del ${device}`,
    );
  }
  return notes;
}
