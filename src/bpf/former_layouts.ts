/**
 * Layouts of former releases whose entries are carried over (schema.ts, `converted`), each with the way to today's. A
 * layout that a release has written stays as it is (bpf/lib/session_former.h).
 */
import { type Codec, ipv4, mac, ns, pad, port, struct, u16, u32, zero } from "./codec.ts";
import {
  podDeviceKey,
  SESSION_STATE,
  SESSION_TCP_FLAG,
  SESSION_ZONE,
  type SessionKey,
  sessionKey,
  sessionV1,
  sessionV2,
  vtep,
  vtepKey,
} from "./layout.ts";
import type { PinnedMap } from "./schema.ts";

/** The layout of one former version of a map. */
export interface FormerLayout<K, V> {
  readonly key: Codec<K>;
  /** For a per-CPU map the value of one CPU. */
  readonly value: Codec<V>;
  /** The entry as it is today; undefined: it is not carried over. */
  convert(key: K, value: V): readonly [key: unknown, value: unknown] | undefined;
}

// deno-lint-ignore no-explicit-any
type AnyLayout = FormerLayout<any, any>;

/** What keeps a conversion apart from a use of the type: each entry is checked where it is written. */
function layout<K, V>(one: FormerLayout<K, V>): AnyLayout {
  return one;
}

/** Members of `struct node_config` of release 0.1.0. */
const nodeConfigMembers = {
  tcp_new_timeout: ns,
  tcp_established_timeout: ns,
  tcp_closing_timeout: ns,
  tcp_closed_timeout: ns,
  udp_timeout: ns,
  icmp_timeout: ns,
  flags: u32,
  node_addr: ipv4,
  pod_cidr: ipv4,
  pod_mask: ipv4,
  snat_addr: ipv4,
  snat_first: u16,
  snat_last: u16,
  overlay_vni: u32,
  overlay_port: port,
  maglev_size: u16,
};
const nodeConfigV1 = struct("node_config", nodeConfigMembers);
const nodeConfigV2 = struct("node_config", {
  ...nodeConfigMembers,
  pods_ifindex: u32,
  reserved: pad(u32),
});

/** What is learnt from the next segments of a TCP connection. One that is closed lives on when they come. */
function unknownTcp({ state }: { state: number }) {
  const tcp = state === SESSION_STATE.CLOSED ? SESSION_TCP_FLAG.WATCH : 0;
  return { tcp, seq_end: 0, seq_run: 0, ack: 0, asked: 0 };
}

/** `struct session` of version 2, which both tables have. */
const sessionOf2 = layout({
  key: sessionKey,
  value: sessionV2,
  convert: (key: SessionKey, value) =>
    key.zone === SESSION_ZONE.CLAIM ? undefined : [key, { ...value, ...unknownTcp(value) }],
});

/** By map and version. */
export const FORMER_LAYOUTS: Partial<Record<PinnedMap, Readonly<Record<number, AnyLayout>>>> = {
  config: {
    // Until the agent fills it in, the stack gets pods' packets by their own device.
    1: layout({
      key: u32,
      value: nodeConfigV1,
      convert: (key, value) => [key, { ...value, pods_ifindex: 0, pods_mtu: 0 }],
    }),
    // Until the agent fills it in, packets may be larger than pods' MTU, as before.
    2: layout({
      key: u32,
      value: nodeConfigV2,
      convert: (key, value) => [key, { ...value, pods_mtu: 0 }],
    }),
  },
  vteps: {
    // Until the agent fills it in, the node may send with any inner source, as before.
    1: layout({
      key: vtepKey,
      value: u32,
      convert: (key) => [key, zero(vtep)],
    }),
  },
  pod_devices: {
    // Until the agent fills it in, frames that the node gets keep the address that the pod wrote.
    1: layout({
      key: podDeviceKey,
      value: struct("pod_device", { mac, flags: u16 }),
      convert: (key, value) => [key, { ...value, host_mac: "00:00:00:00:00:00" }],
    }),
  },
  sessions: {
    1: layout({
      key: sessionKey,
      value: sessionV1,
      convert: (key, value) =>
        key.zone === SESSION_ZONE.CLAIM
          ? undefined
          : [key, { ...value, created: 0n, ...unknownTcp(value) }],
    }),
    2: sessionOf2,
  },
  assured: { 1: sessionOf2 },
};
