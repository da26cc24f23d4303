/** A pod of this node: what CNI ADD has on record of it, what it may send, and what of it is not as it should be. */
import { NODE_FLAG, POD_DEVICE_FLAG, RATE_FLAG } from "../bpf/layout.ts";
import { knownRates } from "../bpf/rates.ts";
import { type Attachment, readAttachments } from "../node/attachments.ts";
import { readState } from "../node/state_files.ts";
import { readOnce } from "../upkeep/fault.ts";
import { endpointFaults, podProgramFaults, portFaults, segmentFaults } from "../upkeep/pods.ts";
import type { NodeReader } from "./node.ts";

/** An interface of the pod. */
interface PodInterface {
  ifname: string;
  containerID: string;
  addresses: string[];
  mac: string;
  /** The host end of its veth pair. */
  device: string;
  bridge?: string;
  hostPorts: string[];
  /** `strict`, or by what the pod may send from any address. */
  sourceCheck: "strict" | "off by annotation" | "off on this node";
  /** Of the CNI plugin bandwidth. */
  rates: ("ingress" | "egress")[];
}

export interface PodDescription {
  /** `namespace/name` */
  pod: string;
  interfaces: PodInterface[];
  /** What follows from all that, a line each; the first is the most important. */
  findings: { good: boolean; text: string }[];
}

/** @returns undefined when this node has no such pod on record */
export function describePod(node: NodeReader, name: string): PodDescription | undefined {
  const { dataPlane, nl, place: { bpffs, stateDir } } = node;
  const records = readAttachments(stateDir).filter(({ pod }) => pod === name);
  if (records.length === 0) return undefined;
  const state = {
    ...{ bpffs, stateDir, nl, links: readOnce(nl), dataPlane, attach: "auto" as const, records },
    objects: readState(stateDir, "objects") ??
      { bridge: "pcnk0", bridgeAddresses: [], overlayDevice: "pcnk_vxlan" },
  };
  const faults = [portFaults, podProgramFaults, endpointFaults, segmentFaults].flatMap((check) =>
    check(state)
  );
  const findings = faults.map(({ text, next }) => ({ good: false, text: `${text}; ${next}` }));
  return {
    pod: name,
    interfaces: records.map((record) => interfaceOf(node, record)),
    findings: findings.length > 0
      ? findings
      : [{ good: true, text: "its device, programs and map entries are as ADD made them" }],
  };
}

function interfaceOf({ maps }: NodeReader, record: Attachment): PodInterface {
  const { ifname, containerID, addresses, mac, hostIfindex, hostIfname, bridge } = record;
  const rates = knownRates(maps.rates, hostIfindex);
  const checked = (maps.config.get(0)?.flags ?? 0) & NODE_FLAG.SOURCE_CHECK;
  const device = maps.pod_devices.get({ ifindex: hostIfindex });
  const exempt = device?.mac === mac && device.flags & POD_DEVICE_FLAG.UNCHECKED;
  return {
    ...{ ifname, containerID, mac, device: hostIfname, bridge },
    addresses: addresses.map(({ address }) => address),
    hostPorts: (record.portMappings ?? []).map(({ hostIP, hostPort, containerPort, protocol }) =>
      `${
        hostIP === "0.0.0.0" ? "*" : hostIP
      }:${hostPort}/${protocol.toUpperCase()} → ${containerPort}`
    ),
    sourceCheck: !checked ? "off on this node" : exempt ? "off by annotation" : "strict",
    rates: [
      ...rates & RATE_FLAG.INGRESS ? ["ingress" as const] : [],
      ...rates & RATE_FLAG.EGRESS ? ["egress" as const] : [],
    ],
  };
}
