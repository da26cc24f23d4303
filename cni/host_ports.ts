/**
 * hostPorts of pods: entries of the pinned map `host_ports`, which the programs look up where they look up NodePorts. The
 * caller holds the lock of the state directory, so that two pods cannot take one port at once.
 */
import type { DataPlane } from "../src/bpf/dataplane.ts";
import { type HostPort, type HostPortKey, maps, NAME_KIND, SCOPE } from "../src/bpf/layout.ts";
import { type MapOf, openMap } from "../src/bpf/map.ts";
import { tryOpenVersion } from "../src/bpf/map_versions.ts";
import { type Attachment, hostPortEntry } from "../src/node/attachments.ts";
import { CniError, CODE } from "./errors.ts";
import { ANY_ADDRESS, textOf } from "./port_mappings.ts";
import type { State } from "./state.ts";

type HostPorts = MapOf<typeof maps.host_ports>;
type PodPorts = Pick<Attachment, "addresses" | "portMappings">;

/**
 * Checks that a pod's mappings are free, and returns the changes that make the map hold these and no others of the pod; each
 * returns what undoes it.
 * @throws {CniError} code 104 naming what has a port; code 11 when the data plane has no such map yet; code 7 without an IPv4
 *   address
 */
export function planHostPorts(
  dataPlane: DataPlane,
  state: State,
  { addresses, portMappings = [] }: PodPorts,
  former: PodPorts | undefined,
): (() => () => void)[] {
  if (portMappings.length === 0 && !former?.portMappings?.length) return [];
  const addr = addresses[0]?.address;
  if (addr === undefined) {
    if (portMappings.length === 0) return [];
    throw new CniError(CODE.INVALID_CONFIG, "a pod without an IPv4 address has no hostPorts");
  }
  const map = openHostPorts(dataPlane);
  const entries = map.entries();
  const changes = portMappings.map((mapping) => {
    const { key, value } = hostPortEntry(mapping, addr);
    const owner = nodePort(dataPlane, key) ??
      entries.find(([other, { addr: pod }]) =>
        other.port === key.port && other.proto === key.proto && pod !== addr &&
        (other.addr === key.addr || other.addr === ANY_ADDRESS || key.addr === ANY_ADDRESS) &&
        dataPlane.maps.endpoints.get({ addr: pod }) !== undefined
      )?.[1].addr;
    if (owner === undefined) return () => replace(map, key, value);
    const pod = state.list().find(({ attachment }) =>
      attachment?.addresses.some(({ address }) => address === owner)
    )?.attachment?.pod;
    throw new CniError(
      CODE.PORT_TAKEN,
      `hostPort ${textOf(mapping)} is taken by ${pod ? `pod ${pod} (${owner})` : owner}`,
      "use another hostPort, or remove what has this one",
    );
  });
  const wanted = portMappings.map(textOf);
  const dropped = (former?.portMappings ?? []).filter((one) => !wanted.includes(textOf(one)))
    .map((mapping) => hostPortEntry(mapping, addr).key)
    .filter((key) => map.get(key)?.addr === addr);
  return [...changes, ...dropped.map((key) => () => replace(map, key, undefined))];
}

/** Sets an entry, or deletes it; returns what restores the former one. */
function replace(map: HostPorts, key: HostPortKey, value: HostPort | undefined): () => void {
  const former = map.get(key);
  if (value) map.set(key, value);
  else map.delete(key);
  return () => void (former ? map.set(key, former) : map.delete(key));
}

function openHostPorts({ maps }: DataPlane): HostPorts {
  try {
    return maps.host_ports;
  } catch (error) {
    throw new CniError(
      CODE.TRY_AGAIN_LATER,
      "the data plane does not serve hostPorts yet",
      `start the agent of this version: ${(error as Error).message}`,
    );
  }
}

/** The Service that has a port as its NodePort, which takes precedence. */
function nodePort(
  { maps: { services, names } }: DataPlane,
  { port, proto }: { port: number; proto: number },
): string | undefined {
  const found = services.get({ addr: ANY_ADDRESS, port, proto, scope: SCOPE.EXTERNAL });
  if (!found) return undefined;
  const name = names.get({ kind: NAME_KIND.SERVICE_PORT, id: found.id });
  return `the NodePort of ${name?.text || "a Service"}`;
}

/** Every difference of the map from a pod's mappings. */
export function hostPortFaults(dataPlane: DataPlane, { addresses, portMappings }: PodPorts) {
  if (!portMappings?.length) return [];
  const map = openHostPorts(dataPlane);
  return portMappings.flatMap((mapping) => {
    const { key, value } = hostPortEntry(mapping, addresses[0]?.address ?? ANY_ADDRESS);
    const found = map.get(key);
    if (found?.addr === value.addr && found.port === value.port) return [];
    const there = found ? `leads to ${found.addr}:${found.port}` : "is missing";
    return [`hostPort ${textOf(mapping)} ${there}, expected ${value.addr}:${value.port}`];
  });
}

/** Removes the entries of an address of a pod. */
export function releaseHostPorts(bpffs: string, address: string): void {
  const fd = tryOpenVersion(bpffs, "host_ports");
  if (fd === undefined) return;
  using map = openMap(fd, maps.host_ports);
  map.deleteBatch(map.entries().filter(([, { addr }]) => addr === address).map(([key]) => key));
}
