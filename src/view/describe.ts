/**
 * A Service three times: the cluster's objects, the entries that this node should hold, and those that its maps hold. Findings
 * name differences of the last two, and reasons why clients are not served.
 */
import { SCOPE, SERVICE_FLAG } from "../bpf/layout.ts";
import { type Frontend, type FrontendKey, frontendKey, isAddressKey } from "../model/frontend.ts";
import { objectKey, type Service } from "../model/objects.ts";
import type { ClusterState } from "../model/state.ts";
import { finished } from "../model/steps.ts";
import { joinHostPort } from "../net/host_port.ts";
import type { ExternalIPs } from "../services/claims.ts";
import { DesiredState } from "../services/desired.ts";
import { endpointGroups, isReady } from "../services/endpoints.ts";
import type { ServiceIssue } from "../services/frontends.ts";
import { parsePortName, protocolName } from "./names.ts";
import type { NodeReader } from "./node.ts";
import { describeSelected, type Selected } from "./selected.ts";

/** An endpoint of the Service's slices, in any state. */
interface DescribedEndpoint {
  address: string;
  node?: string;
  pod?: string;
  /** ready, terminating, or neither of them. */
  state: "ready" | "terminating" | "not ready";
}

/** An address and port of the Service on this node. */
interface DescribedFrontend {
  /** `10.96.0.1:80/TCP`, `*:30080/TCP`. */
  frontend: string;
  from: "inside" | "outside";
  /** `10.1.0.2:8080` of each; null: there should be, or is, no such entry. */
  wanted: string[] | null;
  held: string[] | null;
}

export interface Description {
  service: Service;
  endpoints: DescribedEndpoint[];
  frontends: DescribedFrontend[];
  issues: ServiceIssue[];
  /** What follows from all that, a line each; the first is the most important. */
  findings: { good: boolean; text: string }[];
}

/** What is known of where a Service's endpoints would come from. */
export type Origin =
  /** The API server: the Pods that the selector matches; undefined: not known. */
  | { selected: Selected | undefined }
  /** Manifests: no controller makes EndpointSlices from Pods. */
  | { manifests: string };

/** @returns undefined when the cluster has no such Service and the kernel neither */
export function describeService(
  node: NodeReader,
  state: ClusterState,
  nodeName: string,
  name: string,
  origin: Origin = { selected: undefined },
  externalIPs?: ExternalIPs,
): Description | undefined {
  const service = state.services.get(name);
  const desired = new DesiredState(nodeName, state, { externalIPs });
  let frontends: readonly Frontend[] = [];
  const { issues } = finished(desired.sync(true, (group) => {
    if (group.service === name) frontends = group.frontends;
  }));
  const rows = compare(node, name, frontends);
  if (service === undefined && rows.length === 0) return undefined;
  const described: Service = service ?? unknownService(name);
  const endpoints = endpointsOf(state, described);
  const own = issues.filter((issue) => issue.service === name);
  const findings = judge(described, service !== undefined, endpoints, rows, own, origin);
  return { service: described, endpoints, frontends: rows, issues: own, findings };
}

/** Stands for a Service that only the kernel has. */
function unknownService(key: string): Service {
  const [namespace = "", name = ""] = key.split("/");
  return {
    kind: "Service",
    namespace,
    name,
    type: "ClusterIP",
    clusterIPs: [],
    headless: false,
    ports: [],
    publishNotReadyAddresses: false,
    internalTrafficPolicy: "Cluster",
    affinitySeconds: 0,
  };
}

function endpointsOf(state: ClusterState, service: Service): DescribedEndpoint[] {
  const found = new Map<string, DescribedEndpoint>();
  for (const { endpoints } of endpointGroups(state, objectKey(service))) {
    for (const endpoint of endpoints) {
      const { address, nodeName, pod, terminating } = endpoint;
      found.set(address, {
        address,
        node: nodeName,
        pod,
        state: isReady(service, endpoint) ? "ready" : terminating ? "terminating" : "not ready",
      });
    }
  }
  return [...found.values()].sort((a, b) => a.address < b.address ? -1 : 1);
}

/** Every entry that should be there or is, without those of addresses alone. */
function compare(node: NodeReader, name: string, wanted: readonly Frontend[]): DescribedFrontend[] {
  const rows = new Map<string, DescribedFrontend>();
  const row = ({ addr, port, proto, scope, text }: FrontendKey) => {
    const found = rows.get(text) ?? {
      frontend: `${addr === "0.0.0.0" ? "*" : addr}:${port}/${protocolName(proto)}`,
      from: scope === SCOPE.CLUSTER ? "inside" as const : "outside" as const,
      wanted: null,
      held: null,
    };
    rows.set(text, found);
    return found;
  };
  for (const { key, backends } of wanted) {
    if (!isAddressKey(key)) row(key).wanted = texts(backends);
  }
  const { services, backends } = node.maps;
  for (const [{ addr, port, proto, scope }, { id, first, count, flags }] of services.entries()) {
    if (flags & SERVICE_FLAG.ADDRESS) continue;
    const key = frontendKey(addr, port, proto, scope);
    const named = parsePortName(node.portName(id));
    if (`${named.namespace}/${named.service}` !== name && !rows.has(key.text)) continue;
    row(key).held = texts(backends.range(first, count));
  }
  return [...rows.values()];
}

function texts(backends: readonly { addr: string; port: number }[]): string[] {
  return backends.map(({ addr, port }) => joinHostPort(addr, port)).sort();
}

/** Whether the maps hold what they should. */
export function isSame({ wanted, held }: DescribedFrontend): boolean {
  return wanted === null ? held === null : held !== null && wanted.join() === held.join();
}

function judge(
  service: Service,
  known: boolean,
  endpoints: readonly DescribedEndpoint[],
  rows: readonly DescribedFrontend[],
  issues: readonly ServiceIssue[],
  origin: Origin,
): Description["findings"] {
  const findings: Description["findings"] = [];
  const bad = (text: string) => void findings.push({ good: false, text });
  if (!known) {
    bad(
      "the cluster has no such Service, but the maps have: a full sync of the agent removes it",
    );
  }
  for (const { reason, message } of issues) bad(`${reason}: ${message}`);
  const different = rows.filter((one) => !isSame(one)).length;
  if (known && different > 0) {
    bad(
      `${different} of ${rows.length} entries of the maps are not in sync with the cluster: check that the agent runs ` +
        "(pcnk status), and see its log; a change takes some milliseconds",
    );
  }
  if (known) findings.push(...reach(service, endpoints, rows, origin));
  if (findings.length === 0) {
    findings.push({
      good: true,
      text: "the maps are in sync with the cluster, and clients are served",
    });
  }
  return findings;
}

/** Why clients are not served, as far as the objects are the reason. */
function reach(
  service: Service,
  endpoints: readonly DescribedEndpoint[],
  rows: readonly DescribedFrontend[],
  origin: Origin,
): Description["findings"] {
  const bad = (text: string) => [{ good: false, text }];
  if (service.type === "ExternalName") {
    return [{ good: true, text: "ExternalName: an alias in DNS; the data plane has no entry" }];
  }
  if (service.headless) {
    return [{ good: true, text: "headless: DNS gives clients the addresses of Pods" }];
  }
  if (endpoints.length === 0) {
    return bad(`connections are refused: there are no endpoints; ${whyNone(service, origin)}`);
  }
  if (!endpoints.some(({ state }) => state === "ready")) {
    return bad(
      `none of its ${endpoints.length} endpoints is ready: see the Pods' readiness probes`,
    );
  }
  if (rows.some(({ wanted }) => wanted?.length === 0)) {
    const outside = rows.filter(({ wanted }) => wanted?.length === 0).map(({ frontend, from }) =>
      `${frontend} (${from})`
    );
    return bad(
      `no backends on this node for ${
        outside.join(", ")
      }: a traffic policy Local, or a port that no endpoint has`,
    );
  }
  return [];
}

/** Why a Service has no endpoints, and what to do. */
function whyNone({ namespace, name, selector }: Service, origin: Origin): string {
  if ("manifests" in origin) {
    const wanted = selector === undefined ? "" : ` (its selector is ${selector})`;
    return `no EndpointSlice in ${origin.manifests} that is labelled kubernetes.io/service-name: ${name} has any${wanted}; ` +
      "write one: manifests have no controller that makes it from Pods";
  }
  if (selector === undefined) {
    return "it has no selector and no EndpointSlices: give it a selector " +
      `(kubectl -n ${namespace} edit service ${name}), or create them`;
  }
  const { selected } = origin;
  if (selected === undefined) {
    return `no Pod matches its selector ${selector}: kubectl -n ${namespace} get pods --show-labels`;
  }
  const next = selected.matching > 0
    ? `kubectl -n ${namespace} get pods -l ${selector} -o wide shows which has an address`
    : `compare with kubectl -n ${namespace} get pods --show-labels, and correct the selector or the labels`;
  return `${describeSelected(selector, namespace, selected)}; ${next}`;
}
