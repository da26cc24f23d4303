/** Entries of maps that another program changes, as `bpftool map` does, and limits on pods' devices. */
import { DataPlane } from "../../../src/bpf/dataplane.ts";
import { PROTO, RATE_FLAG, RATE_SLOTS, SCOPE } from "../../../src/bpf/layout.ts";
import { linkDetach, linkInfo, tryObjGet } from "../../../src/bpf/syscall.ts";
import { closeFd } from "../../../src/linux/libc.ts";
import type { Break, Names } from "./breaks.ts";

/** The map's key of pod1-1. */
const POD = { addr: "10.244.1.2" };
const SERVICE = { addr: "10.96.0.10", port: 80, proto: PROTO.UDP, scope: SCOPE.CLUSTER };
/** Of the pod `ported`. */
export const HOST_PORT = { addr: "0.0.0.0", port: 8088, proto: PROTO.TCP };

export function mapBreaks({ bpffs, veth, ifindex }: Names): Break[] {
  const at = (row: string, what: string, change: Use, well: Use): Break => {
    const use = (work: Use) => () => {
      using plane = new DataPlane(bpffs);
      return work(plane.maps);
    };
    return { row, what, command: use(change), well: use(well) };
  };
  const known = (flags: number) =>
    at("", "", () => true, ({ rates }) => rates.get(ifindex % RATE_SLOTS)?.flags === flags).well;
  return [
    {
      row: "hostlb",
      what: "bpftool link detach",
      command: () => withHostlb(bpffs, (link) => (linkDetach(link), true)),
      well: () => withHostlb(bpffs, (link) => !linkInfo(link).detached),
    },
    at(
      "endpoints",
      "an entry deleted",
      ({ endpoints }) => endpoints.delete(POD),
      ({ endpoints }) => endpoints.get(POD) !== undefined,
    ),
    at(
      "leftovers",
      "an entry of no device",
      ({ endpoints }) => {
        const entry = { mac: "02:00:00:00:00:01", gateway: "10.244.1.1", ifindex: 99999 };
        endpoints.set({ addr: "10.244.1.99" }, entry);
        return true;
      },
      ({ endpoints }) => endpoints.get({ addr: "10.244.1.99" }) === undefined,
    ),
    at(
      "host ports",
      "an entry deleted",
      ({ host_ports }) => host_ports.delete(HOST_PORT),
      ({ host_ports }) => host_ports.get(HOST_PORT) !== undefined,
    ),
    {
      row: "limits",
      what: "tc qdisc add root tbf",
      command: `tc qdisc add dev ${veth} root tbf rate 1gbit burst 1mb latency 50ms`,
      well: known(RATE_FLAG.INGRESS),
    },
    {
      row: "limits",
      what: "tc qdisc del root",
      command: `tc qdisc del dev ${veth} root`,
      well: known(0),
    },
    at(
      "services",
      "an entry deleted",
      ({ services }) => services.delete(SERVICE),
      ({ services }) => services.get(SERVICE) !== undefined,
    ),
    at(
      "services",
      "a backend zeroed",
      ({ services, backends }) => {
        const { first } = services.get(SERVICE)!;
        backends.set(first, { addr: "0.0.0.0", port: 0, flags: 0, weight_end: 0 });
        return true;
      },
      ({ services, backends }) => backends.get(services.get(SERVICE)!.first)!.port !== 0,
    ),
    at(
      "network",
      "config zeroed",
      ({ config }) => {
        const held = config.get(0)!;
        config.set(0, { ...held, flags: 0, node_addr: "0.0.0.0", overlay_vni: 0 });
        return true;
      },
      ({ config }) => config.get(0)!.node_addr !== "0.0.0.0",
    ),
    at(
      "network",
      "uplinks, node_addrs, remotes emptied",
      ({ uplinks, node_addrs, remotes }) => {
        for (const map of [uplinks, node_addrs, remotes] as Emptied[]) {
          for (const key of map.keys()) map.delete(key);
        }
        return true;
      },
      ({ uplinks, node_addrs, remotes }) =>
        [uplinks, node_addrs, remotes].every((map) => map.keys().length > 0),
    ),
  ];
}

type Use = (maps: DataPlane["maps"]) => boolean;
type Emptied = { keys(): unknown[]; delete(key: unknown): boolean };

function withHostlb(bpffs: string, use: (link: number) => boolean): boolean {
  const fd = tryObjGet(`${bpffs}/link/cgroup-connect4`);
  if (fd === undefined) return false;
  try {
    return use(fd);
  } finally {
    closeFd(fd);
  }
}
