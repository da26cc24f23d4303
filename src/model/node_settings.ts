/**
 * Settings of one node that may change while agents run: one table of their names, keys and checks. They come from
 * annotations of the Node object or from etcd; every agent follows those of all nodes.
 */
import { isIpv4, whyNotIpv4 } from "../net/ipv4.ts";
import { isUnicast } from "../net/scope.ts";

/** Of one node; undefined: not given. Values are as they were written, and checked. */
export interface NodeSettings {
  directRouting?: string;
  vpcMode?: string;
  publicIP?: string;
}

export type NodeSettingName = keyof NodeSettings;

interface NodeSetting {
  name: NodeSettingName;
  /** Annotation of the Node object. */
  annotation: string;
  /** What is wrong with a value; undefined: nothing. */
  problem(value: string): string | undefined;
  /** Stands for the value in help texts. */
  values: string;
  help: string;
}

const oneOf = (...allowed: string[]) => (value: string) =>
  allowed.includes(value)
    ? undefined
    : `must be ${allowed.filter((word) => word !== "").join(" or ")}${
      allowed.includes("") ? ", or empty for off" : ""
    }`;

export const nodeSettings: readonly NodeSetting[] = [
  {
    name: "directRouting",
    annotation: "pcnk.io/direct-routing",
    problem: oneOf("true", "false"),
    values: "true or false",
    help:
      "Route directly to nodes of the same subnet that ask for it too (default: the setting routing)",
  },
  {
    name: "vpcMode",
    annotation: "pcnk.io/vpc-mode",
    problem: oneOf("aws", ""),
    values: "aws, or empty for off",
    help: "Use routes of the VPC instead of a tunnel, between nodes that set it (docs/aws.md)",
  },
  {
    name: "publicIP",
    annotation: "pcnk.io/public-ip",
    problem(value) {
      if (!isIpv4(value)) return `must be an IPv4 address of a host (${whyNotIpv4(value)})`;
      return isUnicast(value) ? undefined : "must be an IPv4 address of a host";
    },
    values: "an IPv4 address",
    help: "Far end of the tunnel to a node behind NAT",
  },
];

/** The setting of that name. */
export function nodeSetting(name: NodeSettingName): NodeSetting {
  return nodeSettings.find((one) => one.name === name)!;
}

/** In etcd, as pcn-k8s had it. */
export function etcdKey(node: string, name: NodeSettingName): string {
  return `${etcdPrefix}${node}/${name}`;
}

export const etcdPrefix = "/nodes/";

/** What a key of etcd is about; undefined: not ours, or no setting that is known. Segments are whole: node1 is never node10. */
export function parseEtcdKey(key: string): { node: string; name: NodeSettingName } | undefined {
  const [empty, nodes, node, name, ...rest] = key.split("/");
  const known = nodeSettings.some((one) => one.name === name);
  if (empty !== "" || nodes !== "nodes" || !node || !known || rest.length > 0) return undefined;
  return { node, name: name as NodeSettingName };
}

/** Those that the annotations of a Node have, unchecked. */
export function annotatedSettings(
  annotations: Readonly<Record<string, unknown>>,
): NodeSettings {
  const found: NodeSettings = {};
  for (const { name, annotation } of nodeSettings) {
    const value = annotations[annotation];
    if (typeof value === "string") found[name] = value;
  }
  return found;
}
