/**
 * ADD: attaches lbrp to a pod that the plugins before pcnk have wired, and enters its addresses as local pods of this node.
 *
 * Limitation: IPv4 only. A pod with IPv6 addresses alone gets the programs, which pass its packets, and no entry.
 */
import {
  type AttachMode,
  attachPinned,
  detach,
  isAttached,
  tcxSupported,
} from "../src/bpf/attach.ts";
import { RATE_FLAG } from "../src/bpf/layout.ts";
import { deviceRates, setRates } from "../src/bpf/rates.ts";
import type { DataPlane } from "../src/bpf/dataplane.ts";
import { type AttachPoint, podAttachPoints } from "../src/bpf/attach_points.ts";
import { closePort, openPort } from "../src/bpf/segment.ts";
import { progInfo } from "../src/bpf/syscall.ts";
import { type Link, RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Attachment } from "../src/node/attachments.ts";
import { readState } from "../src/node/state_files.ts";
import type { Config } from "./config.ts";
import type { Container } from "./env.ts";
import { CniError, CODE } from "./errors.ts";
import { planHostPorts } from "./host_ports.ts";
import { type Endpoints, openInstalled } from "./installed.ts";
import { stringifyJson } from "./json.ts";
import type { Log } from "./log.ts";
import { endSessions } from "./pod_sessions.ts";
import { type Handles, openPodDevices, release, releaseAddresses } from "./release.ts";
import { needPrevResult, ownResult, podAddresses } from "./result.ts";
import { wantedPort } from "./segment.ts";
import { State } from "./state.ts";
import { findVeth, type PodVeth } from "./veth.ts";

/** The steps of ADD, in order. */
export type AddStep =
  | "record"
  | "device"
  | "lbrp_to_pod"
  | "lbrp_from_pod"
  | "port"
  | "endpoint"
  | "host port";

/**
 * Returns the result's text. When it throws, its steps are undone.
 * @param before called before each step; tests throw or exit there
 * @throws {CniError} code 7 without prevResult, 11 without a data plane, 4 or 102 without the pod's namespace or veth, 104
 *   when a hostPort is taken
 */
export function add(
  config: Config,
  container: Container,
  log: Log,
  before: (step: AddStep) => void = () => {},
): string {
  const { bpffs, stateDir } = config;
  const prevResult = needPrevResult(config);
  const addresses = podAddresses(prevResult, container);
  const text = stringifyJson(ownResult(prevResult, config.cniVersion)); // may fail too, so it comes first
  using dataPlane = openInstalled(bpffs, CODE.TRY_AGAIN_LATER);
  using nl = RtNetlink.open();
  const veth = findVeth(nl, container);
  using state = State.open(stateDir);
  const attachment: Attachment = {
    containerID: container.containerID,
    ifname: container.ifname,
    network: config.name,
    netns: container.netns!,
    pod: container.pod,
    hostIfindex: veth.host.index,
    hostIfname: veth.host.name,
    bridge: bridgeOf(nl, veth.host),
    mac: veth.mac,
    addresses,
    portMappings: config.portMappings ?? [],
  };
  const { endpoints } = dataPlane.maps;
  const datapath = readState(stateDir, "datapath");
  const present = deviceRates(nl, veth.host);
  const later = datapath?.limits?.[config.name];
  const rates = present | (later ?? 0) |
    (config.bandwidth?.ingress ? RATE_FLAG.INGRESS : 0) |
    (config.bandwidth?.egress ? RATE_FLAG.EGRESS : 0);
  // bandwidth, if it comes next, needs the ingress qdisc for itself.
  const shared = later !== undefined || (rates & ~present & RATE_FLAG.EGRESS) !== 0;
  const mode = shared && tcxSupported() ? "tcx" : attachMode(datapath?.attach);
  wire({ bpffs, nl, dataPlane, endpoints, state, log, before, rates, mode }, attachment, veth);
  log.info("pod added", { ...attachment, portMappings: config.portMappings });
  return text;
}

function bridgeOf(nl: RtNetlink, { master }: Link): string | undefined {
  const link = master === undefined ? undefined : nl.link(master);
  return link?.kind === "bridge" ? link.name : undefined;
}

interface Wiring extends Handles {
  dataPlane: DataPlane;
  endpoints: Endpoints;
  state: State;
  log: Log;
  before: (step: AddStep) => void;
  /** RATE_FLAG */
  rates: number;
  /** Of the program on the pod's device. */
  mode: AttachMode;
}

/**
 * Writes the record first, so that DEL and GC know of whatever an ADD that was killed has left, and the endpoints last, so
 * that no packet is sent to a pod whose program is not attached. When a step fails, those before it are undone.
 */
function wire(wiring: Wiring, attachment: Attachment, { host }: PodVeth): void {
  const { bpffs, nl, state, log } = wiring;
  const undo: (() => void)[] = [];
  const former = state.read(attachment);
  const hostPorts = planHostPorts(wiring.dataPlane, state, attachment, former);
  try {
    wiring.before("record");
    undo.push(record(wiring, attachment, former));
    if (wiring.rates) setRates(wiring.dataPlane.maps.rates, host.index, wiring.rates);
    wiring.before("device");
    undo.push(enterDevice(wiring, attachment, host));
    for (const placed of podAttachPoints(bpffs, nl, host)) {
      wiring.before(placed.name);
      undo.push(attach(wiring.dataPlane, placed, wiring.mode));
    }
    wiring.before("port");
    undo.push(endSegment(wiring, attachment, host));
    for (const address of attachment.addresses) {
      wiring.before("endpoint");
      undo.push(enter(wiring, attachment, address));
    }
    for (const enterPort of hostPorts) {
      wiring.before("host port");
      undo.push(enterPort());
    }
  } catch (error) {
    for (const step of undo.toReversed()) {
      try {
        step();
      } catch (second) {
        log.error("a step of ADD could not be undone", { reason: (second as Error).message });
      }
    }
    throw error;
  }
}

/** Writes the record. What a former ADD of the same attachment held and this one does not is released. */
function record(
  wiring: Wiring,
  attachment: Attachment,
  former: Attachment | undefined,
): () => void {
  const { state, log } = wiring;
  const same = former?.hostIfindex === attachment.hostIfindex &&
    former.hostIfname === attachment.hostIfname;
  if (former && same) {
    const kept = new Set(attachment.addresses.map(({ address }) => address));
    const dropped = former.addresses.filter(({ address }) => !kept.has(address));
    releaseAddresses(wiring, former, dropped);
  } else if (former) {
    log.warn("ADD without a DEL before it: the former attachment is released", { former });
    release(wiring, former);
  }
  state.write(attachment);
  return () => void (former && same ? state.write(former) : state.remove(attachment));
}

/**
 * Attaches a program unless it is attached. With `auto` it becomes a clsact filter: a TCX link would delay a pod's start by
 * 8 to 16 ms of RCU. What the agent has attached stays.
 * @returns detaches it again, unless one was attached before
 */
function attach(
  dataPlane: DataPlane,
  { name, hook }: AttachPoint,
  wanted: AttachMode,
): () => void {
  const present = isAttached(hook);
  const mode = wanted === "auto" ? present?.mode ?? "clsact" : wanted;
  if (present?.mode !== mode || present.progId !== progInfo(dataPlane.programFd(name)).id) {
    attachPinned({ ...hook, name, mode });
  }
  return () => void (present ?? detach(hook));
}

/** The mode that the agent attaches by; `auto` when no agent has run. */
function attachMode(mode: string | undefined): AttachMode {
  return mode === "tcx" || mode === "clsact" ? mode : "auto";
}

/** Enters the pod's device; the map of an older release's data plane is the next agent's to make and fill. */
function enterDevice(
  { bpffs }: Wiring,
  { hostIfindex: ifindex, mac }: Attachment,
  { mac: host_mac }: Link,
): () => void {
  using devices = openPodDevices(bpffs);
  const former = devices?.get({ ifindex });
  devices?.set({ ifindex }, { mac, flags: former?.mac === mac ? former.flags : 0, host_mac });
  return () => {
    using devices = openPodDevices(bpffs);
    if (former) devices?.set({ ifindex }, former);
    else devices?.delete({ ifindex });
  };
}

/** Has the bridge keep the pod's port apart. */
function endSegment(
  { nl, dataPlane, rates }: Wiring,
  { bridge, mac }: Attachment,
  host: Link,
): () => void {
  const wanted = bridge === undefined ? undefined : wantedPort(dataPlane, host.index, rates);
  if (wanted === undefined) return () => {};
  // A former device may have had its index.
  if (rates === 0) setRates(dataPlane.maps.rates, host.index, 0);
  closePort(nl, host.index, mac, wanted);
  // A former ADD of the same pod has closed it.
  if (host.portLimits?.length) return () => {};
  return () => openPort(nl, nl.link(host.index) ?? host, mac);
}

/** Enters an address of the pod into the map of local pods. */
function enter(
  wiring: Wiring,
  { hostIfindex: ifindex, mac }: Attachment,
  { address: addr, gateway }: Attachment["addresses"][number],
): () => void {
  const { endpoints } = wiring;
  const former = endpoints.get({ addr });
  if (former && former.ifindex !== ifindex) {
    refuseIfInUse(wiring, addr, former.ifindex);
    endSessions(wiring.bpffs, [addr]);
  }
  endpoints.set({ addr }, { ifindex, mac, gateway });
  return () => void (former ? endpoints.set({ addr }, former) : endpoints.delete({ addr }));
}

/**
 * IPAM has forgotten that another pod has this address, e.g. because its store was deleted. The runtime's next attempt gets
 * another address.
 * @throws {CniError} code 11 while the other pod's device is there
 */
function refuseIfInUse({ nl, log }: Wiring, address: string, ifindex: number): void {
  const device = nl.link(ifindex);
  if (device?.kind === "veth") {
    throw new CniError(
      CODE.TRY_AGAIN_LATER,
      `the address ${address} is in use by another pod of this node (device ${device.name})`,
      "IPAM gave it twice: was its store deleted while pods ran? The next attempt gets another address",
    );
  }
  log.warn("the endpoint of a device that is gone is replaced", { address, ifindex });
}
