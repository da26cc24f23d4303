import { writeSysctl } from "../linux/sysctl.ts";

/** Thousands of connections a second: no shortage of ports, none of what ended connections leave behind. */
export function tuneForManyConnections(netns: string): void {
  writeSysctl("net.ipv4.ip_local_port_range", "1024 65535", netns);
  writeSysctl("net.ipv4.tcp_tw_reuse", "1", netns);
  writeSysctl("net.ipv4.tcp_max_tw_buckets", "1000000", netns);
  // What TCP remembers of each destination would make ten thousand of them slow, whatever carries the packets.
  writeSysctl("net.ipv4.tcp_no_metrics_save", "1", netns);
}
