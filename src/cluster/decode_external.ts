/** How a core/v1 Service is reached from outside the cluster: addresses, policy, who may come in. */
import type { Service } from "../model/objects.ts";
import { type Fields, fields, integer, ipv4, ipv4Prefix, list } from "./reader.ts";
import { oneOf, type Path, text } from "./reader.ts";

type External = Pick<
  Service,
  | "externalIPs"
  | "loadBalancerIPs"
  | "externalTrafficPolicy"
  | "healthCheckNodePort"
  | "sourceRanges"
>;

/**
 * The fields of a Service that are about clients outside; none that has its default.
 * @throws DecodeError with the path of the field that is wrong
 */
export function decodeExternal(object: Fields, path: Path): External {
  const at = [...path, "spec"];
  const spec = fields(object.spec, at);
  const external: External = {};
  const externalIPs = addresses(list(spec.externalIPs, [...at, "externalIPs"]), (i) => [
    ...at,
    "externalIPs",
    i,
  ]);
  if (externalIPs.length > 0) external.externalIPs = externalIPs;
  const ingress = ingressIPs(object.status, [...path, "status"]);
  if (ingress.length > 0) external.loadBalancerIPs = ingress;
  const policyAt = [...at, "externalTrafficPolicy"];
  const policy = oneOf(spec.externalTrafficPolicy, policyAt, ["Cluster", "Local"], "Cluster");
  if (policy === "Local") external.externalTrafficPolicy = policy;
  // The API writes 0 for none.
  if ((spec.healthCheckNodePort ?? 0) !== 0) {
    const here = [...at, "healthCheckNodePort"];
    external.healthCheckNodePort = integer(spec.healthCheckNodePort, here, 1, 65535);
  }
  const ranges = list(spec.loadBalancerSourceRanges, [...at, "loadBalancerSourceRanges"]);
  if (ranges.length > 0) external.sourceRanges = sourceRanges(ranges, at);
  return external;
}

/** status.loadBalancer.ingress. Packets to an address with ipMode Proxy must go through the load balancer (KEP-1860). */
function ingressIPs(value: unknown, path: Path): string[] {
  const at = [...path, "loadBalancer"];
  const balancer = fields(fields(value, path).loadBalancer, at);
  const points = list(balancer.ingress, [...at, "ingress"]).map((item, i) =>
    fields(item, [...at, "ingress", i])
  );
  const ips = points.map(({ ip, ipMode }, i) => {
    const here = [...at, "ingress", i, "ipMode"];
    return oneOf(ipMode, here, ["VIP", "Proxy"], "VIP") === "VIP" ? ip : undefined;
  });
  return addresses(ips, (i) => [...at, "ingress", i, "ip"]);
}

/** The IPv4 addresses among `values`, each once. */
function addresses(values: readonly unknown[], pathOf: (i: number) => Path): string[] {
  const found = new Set<string>();
  values.forEach((value, i) => {
    if (value === undefined || value === null || value === "") return;
    const address = ipv4(value, pathOf(i));
    if (address !== undefined) found.add(address);
  });
  return [...found];
}

function sourceRanges(values: unknown[], at: Path): string[] {
  const found = new Set<string>();
  values.forEach((value, i) => {
    const here = [...at, "loadBalancerSourceRanges", i];
    // The API takes blanks around a prefix.
    const range = ipv4Prefix(text(value, here)?.trim(), here);
    if (range !== undefined) found.add(range);
  });
  return [...found];
}
