/** The settings that programs read live, as the `config` map holds them. */
import { emptyNodeConfig, type NodeConfig } from "../bpf/layout.ts";
import type { AgentConfig } from "../config/schema.ts";
import type { Uplink } from "./uplink.ts";

export function nodeConfigOf(
  { timeouts }: Pick<AgentConfig, "timeouts">,
  uplink: Uplink | undefined,
): NodeConfig {
  const nanoseconds = (seconds: number) => BigInt(Math.round(seconds * 1e9));
  return {
    ...emptyNodeConfig,
    tcp_new_timeout: nanoseconds(timeouts.tcpNew),
    tcp_established_timeout: nanoseconds(timeouts.tcpEstablished),
    tcp_closing_timeout: nanoseconds(timeouts.tcpClosing),
    tcp_closed_timeout: nanoseconds(timeouts.tcpClosed),
    udp_timeout: nanoseconds(timeouts.udp),
    icmp_timeout: nanoseconds(timeouts.icmp),
    node_addr: uplink?.address ?? "0.0.0.0",
  };
}
