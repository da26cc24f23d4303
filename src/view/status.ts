/**
 * The health of this node: each part is checked by itself, in the kernel and in the agent's state files. A problem has a
 * reason and a next step.
 */
import { listCgroupHooks } from "../bpf/cgroup.ts";
import { isConverting } from "../bpf/conversion.ts";
import { csumTold } from "../bpf/csum_told.ts";
import { NotInstalledError } from "../bpf/dataplane.ts";
import { pinnedVersions } from "../bpf/map_versions.ts";
import { schemaOf } from "../bpf/schema.ts";
import { ping } from "../linux/ping.ts";
import { listAttachmentIds } from "../node/attachments.ts";
import { readState, type StateFiles } from "../node/state_files.ts";
import { defaultRoute } from "../upkeep/paths.ts";
import { pinFaults } from "../upkeep/pins.ts";
import { readCounters, readMaps } from "./counters.ts";
import type { Finding } from "./finding.ts";
import { type NodePlace, NodeReader } from "./node.ts";
import { nodeNetfilter } from "./netfilter.ts";
import { readNodes } from "./network.ts";
import { ownAddressFindings, readServices } from "./services.ts";
import { hostPortFindings } from "./host_ports.ts";
import { agentFindings } from "./status_agent.ts";
import { shareFindings } from "./shares.ts";
import { asFinding, type Found, lastingFaults } from "./status_objects.ts";
import { parseNetwork } from "../net/prefix.ts";

interface StatusOptions extends NodePlace {
  /** Other nodes to probe, at most; 0: none. */
  peers: number;
  /** Milliseconds to wait for a reply. */
  timeoutMs: number;
  /** Milliseconds after which a fault is looked at again: the agent mends most within that, and CNI calls are at work. */
  settleMs?: number;
}

/** @throws {SyscallError} when the maps cannot be read */
export async function nodeStatus(options: StatusOptions): Promise<Finding[]> {
  const agent = await agentFindings(options.stateDir, options.timeoutMs);
  let node: NodeReader;
  try {
    node = new NodeReader(options);
  } catch (error) {
    if (!(error instanceof NotInstalledError)) throw error;
    return [...agent, missingFinding(options)];
  }
  using _ = node;
  // Either of these means that maps cannot be read. Another release has other pins, too.
  const schema = schemaFindings(options);
  if (schema.some(({ health }) => health === "bad")) return [...agent, ...schema];
  const faults = await lastingFaults(node, options.settleMs ?? 1500);
  if (faults.some(({ row }) => row === "pins")) return [...agent, ...faults.map(asFinding)];
  return [
    ...agent,
    ...schema,
    ...kernelFindings(csumTold()),
    ...objectFindings(node, faults),
    ...nodeNetfilter(node),
    ...await peerFindings(node, options),
    ...serviceFindings(node),
    ...hostPortFindings(node),
    ...ownAddressFindings(node),
    ...sessionFindings(node),
    ...shareFindings(node),
    ...mapFindings(node),
    ...dropFindings(node),
  ];
}

/** No data plane, or one whose pins are gone or hidden. */
function missingFinding({ bpffs, stateDir }: NodePlace): Finding {
  const part = "data plane", health = "bad";
  const [fault] = listAttachmentIds(stateDir).length > 0 ? pinFaults({ bpffs }) : [];
  if (fault !== undefined) return { part, health, text: fault.text, next: fault.next };
  return {
    part,
    health,
    text: `none is installed at ${bpffs}: pods reach no Services and nothing outside`,
    next: "start the agent once; after that the data plane works without it",
  };
}

/** What the pinned maps are, and how an upgrade of them goes. */
function schemaFindings({ bpffs, stateDir }: NodePlace): Finding[] {
  const part = "data plane";
  const pinned = pinnedVersions(bpffs);
  const list = (wanted: (version: number, known: number) => boolean) =>
    pinned.filter(({ name, version }) => wanted(version, schemaOf(name)!.version))
      .map(({ name, version }) => `${name} ${version}`).sort().join(", ");
  const newer = list((version, known) => version > known);
  if (newer !== "") {
    const text = `a newer pcnk made its maps (schema: ${newer}), which this one cannot read`;
    const next = "run the newer pcnk, or drain the node and reboot it, which removes pinned maps";
    return [{ part, health: "bad", text, next }];
  }
  const failed = readState(stateDir, "upgrade")?.error;
  const next = "see docs/upgrade.md; the former programs keep serving meanwhile";
  if (failed !== undefined) {
    return [{ part, health: "bad", text: `the upgrade failed: ${failed}`, next }];
  }
  const former = list((version, known) => version < known);
  if (former !== "") {
    const text = `an older pcnk made its maps (schema: ${former})`;
    return [{
      part,
      health: "bad",
      text,
      next: "start the agent of this version, which converts them",
    }];
  }
  if (isConverting(bpffs)) {
    const text = "the upgrade of the sessions was interrupted; nothing is lost";
    return [{ part, health: "warn", text, next: "start the agent, which completes it" }];
  }
  const changed = list((version) => version > 1);
  const text = `installed at ${bpffs}; schema: ${changed}, other maps 1`;
  return [{ part, health: "ok", text }];
}

/** What programs leave out on this kernel. @param told whether it tells where a checksum is written */
export function kernelFindings(told: boolean): Finding[] {
  if (told) return [];
  return [{
    part: "data plane",
    health: "note",
    text: `checksums left to a device are not checked on this kernel (${Deno.osRelease()}): ` +
      "a pod with CAP_NET_RAW can have 16 bits of its headers overwritten after the checks",
    next: "take CAP_NET_RAW from pods that are not trusted; see docs/security.md",
  }];
}

/** What is not as the table of objects has it; or one line for each part that is. */
function objectFindings(node: NodeReader, faults: readonly Found[]): Finding[] {
  const findings = faults.slice(0, SHOWN_FAULTS).map((
    { part, fault: { text, next } },
  ): Finding => ({
    part,
    health: "bad",
    text,
    next,
  }));
  const rest = faults.length - findings.length;
  if (rest > 0) {
    const text = `${rest} more objects are not as they should be`;
    findings.push({ part: faults[0]!.part, health: "bad", text, next: "see the agent's log" });
  }
  const well = (part: Finding["part"]) => !faults.some((one) => one.part === part);
  const count = node.maps.endpoints.count();
  const pods = `${count} ${count === 1 ? "pod" : "pods"}`;
  if (well("pods")) {
    findings.push({ part: "pods", health: "ok", text: `${pods}, every program in its place` });
  }
  findings.push(...uplinkFindings(node, well("uplink")));
  if (well("host services")) findings.push(hostFinding(node.place.bpffs));
  return findings;
}

/** Faults to show; a node may have hundreds of pods. */
const SHOWN_FAULTS = 10;

/** @param well whether the table of objects finds nothing of uplinks */
function uplinkFindings(node: NodeReader, well: boolean): Finding[] {
  const part = "uplink";
  const entries = node.maps.uplinks.entries();
  const known = readState(node.place.stateDir, "uplinks");
  if (entries.length === 0) {
    return [...otherDevices(known), {
      part,
      health: "bad",
      text: "none is known: no NodePorts, no other nodes, nothing outside for pods",
      next:
        "is there a default route? else name the device: --uplink, or uplink in the configuration",
    }];
  }
  const someUp = entries.some(([{ ifindex }]) => node.links.get(ifindex)?.up);
  const findings = entries.flatMap(([{ ifindex }, { addr, mtu }]): Finding[] => {
    const link = node.links.get(ifindex);
    const name = node.device(ifindex);
    if (link === undefined) {
      const text = `the device with index ${ifindex} is gone`;
      const next = "ip link; the agent takes the device of the default route";
      return [{ part, health: "bad", text, next }];
    }
    if (!link.up) {
      const next = `ip link set ${name} up, unless it is down on purpose`;
      return [{ part, health: someUp ? "note" : "bad", text: `${name} is down`, next }];
    }
    const why = known?.devices.find((one) => one.name === name)?.why;
    const text = `${name}, address ${addr}, MTU ${mtu}${why === undefined ? "" : `; ${why}`}`;
    return well ? [{ part, health: "ok", text }] : [];
  });
  if (well && defaultRoute(node.nl) === undefined) {
    const text = "no default route: pods reach only networks that this node has routes to";
    findings.push({ part, health: "note", text });
  }
  return [...findings, ...otherDevices(known)];
}

/** Devices that are no uplinks: NodePorts are not served there, and pods' packets keep their address. */
function otherDevices(known: StateFiles["uplinks"] | undefined): Finding[] {
  const part = "uplink";
  const { devices = [], missing = [] } = known ?? {};
  const others = devices.filter(({ uplink, unserved }) => !uplink && !unserved);
  const list = others.map(({ name, why }) => `${name} (${why})`).join(", ");
  return [
    ...devices.filter(({ unserved }) => unserved).map(({ name, uplink, why }): Finding => ({
      part,
      health: "bad",
      text: uplink
        ? `${name} serves NodePorts only: it ${why}`
        : `${name} cannot be one: it ${why}`,
      next: uplink
        ? "take it out of the VRF"
        : "give a GRE tunnel its remote, or lead the route by a device with Ethernet or IP frames",
    })),
    ...missing.map((name): Finding => ({
      part,
      health: "warn",
      text: `${name}, which the setting uplink names, does not exist`,
      next: "ip link; it becomes an uplink when it appears",
    })),
    ...others.length === 0 ? [] : [
      {
        part,
        health: "note",
        text: `none of: ${list}`,
        next:
          "to serve NodePorts there and masquerade, name it in the setting uplink, beside the others",
      } as const,
    ],
  ];
}

function hostFinding(bpffs: string): Finding {
  const hooks = listCgroupHooks(bpffs).length;
  return hooks > 0
    ? {
      part: "host services",
      health: "ok",
      text: `the node's own processes reach services (${hooks} hooks)`,
    }
    : {
      part: "host services",
      health: "note",
      text: "the node's own processes do not reach services",
      next: "set socketLB: host, unless it is off on purpose",
    };
}

/** Sends an ICMP echo request to other nodes, by the path of packets to their pods. */
async function peerFindings(
  node: NodeReader,
  { peers, timeoutMs }: StatusOptions,
): Promise<Finding[]> {
  const all = readNodes(node, { names: [] });
  const asked = all.slice(0, peers);
  const findings = await Promise.all(asked.map(async (peer): Promise<Finding> => {
    // Through the tunnel its far end is the first address of the podCIDR.
    const address = peer.mode === "overlay" ? parseNetwork(peer.podCIDR).address : peer.via;
    const result = await ping({ address, timeoutMs });
    const path = `${peer.name} (${peer.podCIDR}) by ${peer.mode} via ${peer.via}`;
    if (result.ok) {
      return {
        part: "peer",
        health: "ok",
        text: `${path}: replies in ${result.rttMs.toFixed(2)} ms`,
      };
    }
    const next = peer.mode === "overlay"
      ? "check that the node is up, and that firewalls between the nodes allow the tunnel's UDP port in both directions"
      : "check that the node is up, and on the same subnet";
    return { part: "peer", health: "bad", text: `${path}: no reply (${result.reason})`, next };
  }));
  const rest = all.length - asked.length;
  if (rest > 0) {
    findings.push({ part: "peer", health: "note", text: `${rest} more, not probed (--peers N)` });
  }
  return findings;
}

/** Names to show; there may be thousands. */
const SHOWN_SERVICES = 3;

/** An entry without a name: the agent gives one to all that it writes. */
function foreignFinding(frontend: string): Finding {
  return {
    part: "services",
    health: "warn",
    text: `${frontend} is an entry of no Service`,
    next:
      "a running agent removes it within its resync time (5m); check which other program writes to the maps",
  };
}

/** Services that reject all clients here, which is often intended. */
function serviceFindings(node: NodeReader): Finding[] {
  const part = "services";
  const backends = new Map<string, number>();
  const foreign: Finding[] = [];
  for (
    const { name, namespace, address, frontendPort, backends: count } of readServices(node, {
      names: [],
    })
  ) {
    if (namespace !== "") backends.set(name, Math.max(backends.get(name) ?? 0, count));
    else foreign.push(foreignFinding(`${address}:${frontendPort}`));
  }
  if (foreign.length > 0) return foreign.slice(0, SHOWN_SERVICES);
  const known = `${backends.size} ${backends.size === 1 ? "Service" : "Services"}`;
  const empty = [...backends].filter(([, count]) => count === 0).map(([name]) => name);
  if (empty.length === 0) return [{ part, health: "ok", text: `${known}, each with a backend` }];
  const rest = empty.length > SHOWN_SERVICES ? `, and ${empty.length - SHOWN_SERVICES} more` : "";
  const text = `${known}; no backend, so clients are refused: ${
    empty.slice(0, SHOWN_SERVICES).join(", ")
  }${rest}`;
  return [{ part, health: "note", text, next: `pcnk describe service ${empty[0]}` }];
}

/** How full the session tables are, and what a shortage has done since the data plane was installed. */
function sessionFindings(node: NodeReader): Finding[] {
  const part = "sessions";
  const { sessions, assured } = node.maps;
  const [entries, copies, capacity] = [sessions.count(), assured.count(), sessions.maxEntries];
  const flows = Math.max(entries, copies) / 2;
  const shortages = readCounters(node, { names: Object.keys(SHORTAGES) })
    .filter(({ packets }) => packets > 0)
    .map(({ name, packets }) => `${packets} ${SHORTAGES[name]}`);
  const text = [
    `${Math.ceil(flows)} of ${capacity / 2} flows, ${Math.ceil(copies / 2)} assured`,
    ...shortages,
  ].join("; ");
  if (Math.max(entries, copies) < PRESSURE * capacity) {
    return [{ part, health: shortages.length > 0 ? "note" : "ok", text }];
  }
  const next = "raise mapSizes.sessions, or lower shares.sessions if one client has most of them " +
    "(pcnk get sessions); the agent removes what is over";
  // What is evicted is the oldest of what is not assured, unless that does not fit either.
  return [{ part, health: copies < PRESSURE * capacity ? "note" : "warn", text, next }];
}

/** From this fill level on there may not be room for every flow in use. */
const PRESSURE = 0.9;

/** Counters that say so, and what they count. */
const SHORTAGES: Readonly<Record<string, string>> = {
  event_session_restored: "times an evicted entry was restored",
  event_session_recycled: "replaced by newer ones of a client above shares.sessions",
  event_session_unassured: "attempts to assure one without room in its client's share",
};

/** Settings of capacities, by the maps that are called otherwise. */
const SETTINGS: Readonly<Record<string, string>> = {
  source_ranges: "sourceRanges",
  remotes: "nodes",
  node_addrs: "nodes",
  vteps: "nodes",
  no_masquerade: "nodes",
};

/** Fill levels to show while none is full. */
const SHOWN_MAPS = 4;

/** From this fill level on a map is a problem. */
const FULL = 0.8;

function mapFindings(node: NodeReader): Finding[] {
  const rows = readMaps(node, { names: [] }).map((row) => ({
    ...row,
    used: row.entries / row.capacity,
  }));
  // A map that evicts its oldest entries may be full.
  const full = rows.filter(({ name, used, whenFull }) =>
    used >= FULL && whenFull === "refuses" && name !== "assured" // see sessionFindings()
  );
  if (full.length > 0) {
    return full.map(({ name, entries, capacity }): Finding => ({
      part: "maps",
      health: entries >= capacity ? "bad" : "warn",
      text: `${name} holds ${entries} of ${capacity} entries; what does not fit is left out`,
      next: `raise mapSizes.${SETTINGS[name] ?? name}; the agent carries the entries over`,
    }));
  }
  const fill = rows.sort((a, b) => b.used - a.used).slice(0, SHOWN_MAPS)
    .map(({ name, used }) => `${name} ${(100 * used).toFixed(1)} %`);
  return [{ part: "maps", health: "ok", text: `fullest: ${fill.join(", ")} (pcnk get maps)` }];
}

function dropFindings(node: NodeReader): Finding[] {
  const drops = readCounters(node, { names: [] }).filter(({ kind }) => kind === "drop");
  if (drops.length === 0) return [{ part: "drops", health: "ok", text: "none since the start" }];
  return drops.sort((a, b) => b.packets - a.packets).slice(0, 5)
    .map(({ name, packets, meaning }): Finding => ({
      part: "drops",
      health: "note",
      text: `${packets} ${packets === 1 ? "packet" : "packets"}: ${meaning} (${name})`,
      next: SOURCE_CHECKS.has(name)
        ? `pcnk monitor --reason ${name} shows which pod; one that is a router needs the setting sourceCheck: annotated`
        : name === "drop_uplink_source"
        ? `pcnk monitor --reason ${name} shows from where; while nodes change routing one by one, set uplinkCheck: off`
        : undefined,
    }));
}

/** Drops of what a pod sends that a router in a pod, or a machine, would send rightly. */
const SOURCE_CHECKS: ReadonlySet<string> = new Set([
  ...["drop_source_address", "drop_source_mac", "drop_arp_sender"],
]);
