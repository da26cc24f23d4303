/**
 * hostPorts as runtimes hand them over: `runtimeConfig.portMappings`, for plugins that declare the capability (CNI
 * CONVENTIONS.md, "Dynamic plugin specific fields").
 *
 * Limitation: IPv4, TCP and UDP. A mapping for an IPv6 address is left out: pods have no IPv6 data plane.
 */
import { isAddress } from "../src/net/address.ts";
import { isIpv4 } from "../src/net/ipv4.ts";
import type { PortMapping } from "../src/node/attachments.ts";
import { lowerCase, objects, optionalText, wrong } from "./json.ts";

/** All addresses of the node. */
export const ANY_ADDRESS = "0.0.0.0";

/**
 * The mappings in a list, each once; empty without one. Runtimes send a hostPort of 0 for a port that has none.
 * @throws {CniError} code 7 naming what is wrong
 */
export function portMappings(value: unknown): PortMapping[] {
  const found = new Map<string, PortMapping>();
  objects(value, "runtimeConfig.portMappings").forEach((mixedCase, i) => {
    const entry = lowerCase(mixedCase);
    const where = `runtimeConfig.portMappings[${i}]`;
    const hostIP = optionalText(entry["hostip"], `${where}.hostIP`) || ANY_ADDRESS;
    const hostPort = port(entry["hostport"] ?? 0, 0, `${where}.hostPort`);
    if (hostPort === 0 || isAddress(hostIP, 6)) return;
    if (!isIpv4(hostIP)) throw wrong(`${where}.hostIP`, hostIP, "must be an IP address");
    const containerPort = port(entry["containerport"], 1, `${where}.containerPort`);
    const mapping = { hostIP, hostPort, containerPort, protocol: protocol(entry, where) };
    const former = found.get(textOf(mapping));
    if (former && former.containerPort !== containerPort) {
      throw wrong(where, entry, `maps ${textOf(mapping)} a second time`);
    }
    found.set(textOf(mapping), mapping);
  });
  return [...found.values()];
}

/** `0.0.0.0:8080/tcp`. */
export function textOf({ hostIP, hostPort, protocol }: PortMapping): string {
  return `${hostIP}:${hostPort}/${protocol}`;
}

function port(value: unknown, least: 0 | 1, where: string): number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= 65535) {
    return value as number;
  }
  throw wrong(where, value, `must be a port from ${least} to 65535`);
}

function protocol(entry: Record<string, unknown>, where: string): PortMapping["protocol"] {
  const text = (optionalText(entry["protocol"], `${where}.protocol`) || "tcp").toLowerCase();
  if (text === "tcp" || text === "udp") return text;
  throw wrong(`${where}.protocol`, text, "must be tcp or udp; pcnk serves no other hostPorts");
}
