/** CHECK: compares record, programs and endpoints with what ADD set up; the error names every difference. */
import { isAttachedAt, podAttachPoints } from "../src/bpf/attach_points.ts";
import type { DataPlane } from "../src/bpf/dataplane.ts";
import { isPodFdbEntry, portDifference } from "../src/bpf/segment.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Attachment, PodAddress } from "../src/node/attachments.ts";
import type { Config } from "./config.ts";
import type { Container } from "./env.ts";
import { CniError, CODE } from "./errors.ts";
import { hostPortFaults } from "./host_ports.ts";
import { openInstalled } from "./installed.ts";
import { needPrevResult, podAddresses } from "./result.ts";
import { wantedPort } from "./segment.ts";
import { State } from "./state.ts";
import { findVeth, type PodVeth } from "./veth.ts";

/** @throws {CniError} as ADD; code 100 naming every difference */
export function check(config: Config, container: Container): void {
  const { bpffs, stateDir } = config;
  const addresses = podAddresses(needPrevResult(config), container);
  using dataPlane = openInstalled(bpffs, CODE.TRY_AGAIN_LATER);
  using nl = RtNetlink.open();
  const veth = findVeth(nl, container);
  using state = State.openIfThere(stateDir);
  const faults = recordFaults(state?.read(container), veth, addresses);
  for (const placed of podAttachPoints(bpffs, nl, veth.host)) {
    if (isAttachedAt(dataPlane, placed)) continue;
    faults.push(`${placed.name} is not attached to ${placed.hook.direction} of ${placed.device}`);
  }
  faults.push(...portFaults(dataPlane, nl, veth));
  for (const { address, gateway } of addresses) {
    const entry = dataPlane.maps.endpoints.get({ addr: address });
    const wanted = { ifindex: veth.host.index, mac: veth.mac, gateway };
    const fault = difference(entry, wanted);
    if (fault) faults.push(`${address} in the endpoints map: ${fault}`);
  }
  const { portMappings } = config.portMappings ? config : state?.read(container) ?? config;
  faults.push(...hostPortFaults(dataPlane, { addresses, portMappings }));
  if (faults.length === 0) return;
  throw new CniError(
    CODE.CHECK_FAILED,
    `${container.ifname} of ${container.containerID} differs from what ADD set up`,
    faults.join("; "),
  );
}

/** Of a port of a bridge. */
function portFaults(dataPlane: DataPlane, nl: RtNetlink, { host, mac }: PodVeth): string[] {
  const { index, name, master } = host;
  if (master === undefined || host.portLimits === undefined) return [];
  const wanted = wantedPort(dataPlane, index);
  if (wanted === undefined) return [];
  const difference = portDifference(host, wanted);
  // A port that frames to unknown addresses leave by does without.
  const known = wanted.flood || nl.fdb({ master }).some((one) => isPodFdbEntry(one, index, mac));
  return [
    ...(difference === "" ? [] : [`the bridge's port ${name}: ${difference}`]),
    ...(known ? [] : [`${mac} is not in the bridge's table as the address behind ${name}`]),
  ];
}

function recordFaults(
  record: Attachment | undefined,
  { host, mac }: PodVeth,
  addresses: PodAddress[],
): string[] {
  if (!record) return ["the attachment has no record"];
  const wanted = { hostIfindex: host.index, hostIfname: host.name, mac };
  const faults: string[] = [];
  const fault = difference({ ...record }, wanted);
  if (fault) faults.push(`the record: ${fault}`);
  const [given, recorded] = [addresses, record.addresses]
    .map((list) => list.map(({ address }) => address).sort().join(", "));
  if (given !== recorded) {
    faults.push(`the record has ${recorded || "no address"}, prevResult ${given}`);
  }
  return faults;
}

/** The first field that differs, with both values. */
function difference(
  found: Readonly<Record<string, unknown>> | undefined,
  wanted: Readonly<Record<string, unknown>>,
): string | undefined {
  if (!found) return "it is missing";
  const key = Object.keys(wanted).find((name) => found[name] !== wanted[name]);
  return key && `${key} is ${found[key]}, expected ${wanted[key]}`;
}
