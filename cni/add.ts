/**
 * ADD: puts lbrp on a pod that the plugins before pcnk have wired, and enters its addresses as endpoints of this node.
 *
 * Limitation: IPv4 only. A pod with IPv6 addresses alone gets the programs, which let its packets pass, and no endpoint.
 */
import type { DataPlane } from "../src/bpf/dataplane.ts";
import { placePrograms } from "../src/bpf/places.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Attachment } from "../src/node/attachments.ts";
import type { Config } from "./config.ts";
import type { Container } from "./env.ts";
import { CODE } from "./errors.ts";
import { attachMode, putInPlace } from "./hooks.ts";
import { type Endpoints, openInstalled } from "./installed.ts";
import { stringifyJson } from "./json.ts";
import type { Log } from "./log.ts";
import { type Ground, release, releaseAddresses } from "./release.ts";
import { needPrevResult, ownResult, podAddresses } from "./result.ts";
import { State } from "./state.ts";
import { findVeth, type PodVeth } from "./veth.ts";

/** The steps of ADD in their order. */
export type AddStep = "record" | "lbrp_to_pod" | "lbrp_from_pod" | "endpoint";

/**
 * Returns the result's text. When it throws, what it has done is undone.
 * @param before called before each step; tests fail or die there
 * @throws {CniError} code 7 without prevResult, 11 without a data plane, 4 or 102 without the pod's namespace or veth
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
    ...(container.pod ? { pod: container.pod } : {}),
    hostIfindex: veth.host.index,
    hostIfname: veth.host.name,
    mac: veth.mac,
    addresses,
  };
  const { endpoints } = dataPlane.maps;
  wire({ bpffs, nl, dataPlane, endpoints, state, log, before }, attachment, veth);
  log.info("pod added", { ...attachment });
  return text;
}

interface Wiring extends Ground {
  dataPlane: DataPlane;
  endpoints: Endpoints;
  state: State;
  log: Log;
  before: (step: AddStep) => void;
}

/**
 * The record first, so that DEL and GC know of whatever may be there; endpoints last, so that nobody sends packets to a
 * pod whose program is not in place. When a step fails, those before it are undone.
 */
function wire(wiring: Wiring, attachment: Attachment, { host }: PodVeth): void {
  const { bpffs, nl, state, log } = wiring;
  const undo: (() => void)[] = [];
  try {
    wiring.before("record");
    undo.push(record(wiring, attachment));
    const mode = attachMode(state.stateDir);
    for (const placed of placePrograms(bpffs, nl, host)) {
      wiring.before(placed.name);
      undo.push(putInPlace(wiring.dataPlane, placed, mode));
    }
    for (const address of attachment.addresses) {
      wiring.before("endpoint");
      undo.push(enter(wiring, attachment, address));
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

/** Writes the record. What a former ADD of the same attachment held and this one does not is given back. */
function record(wiring: Wiring, attachment: Attachment): () => void {
  const { state, log } = wiring;
  const former = state.read(attachment);
  const same = former?.hostIfindex === attachment.hostIfindex &&
    former.hostIfname === attachment.hostIfname;
  if (former && same) {
    const kept = new Set(attachment.addresses.map(({ address }) => address));
    const dropped = former.addresses.filter(({ address }) => !kept.has(address));
    releaseAddresses(wiring, former, dropped);
  } else if (former) {
    log.warn("added again without a DEL; what it had is given back", { former });
    release(wiring, former);
  }
  state.write(attachment);
  return () => void (former && same ? state.write(former) : state.remove(attachment));
}

function enter(
  { endpoints, log }: Wiring,
  { hostIfindex: ifindex, mac }: Attachment,
  { address: addr, gateway }: Attachment["addresses"][number],
): () => void {
  const former = endpoints.get({ addr });
  if (former && former.ifindex !== ifindex) {
    // Whoever hands out addresses gave it to this pod; the other was never deleted.
    log.warn("the address was another pod's", { address: addr, former });
  }
  endpoints.set({ addr }, { ifindex, mac, gateway });
  return () => void (former ? endpoints.set({ addr }, former) : endpoints.delete({ addr }));
}
