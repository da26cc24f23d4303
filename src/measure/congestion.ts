/**
 * TCP's congestion control of the bandwidth runs: cubic, which most machines use by default. bbr paces what it sends by timers, and
 * on a path without a wire these are what would be measured: 12 instead of 20 Gbit/s between two nodes of a lab.
 */
const WANTED = "cubic";

/** Words for iperf3's client, and what the report says about it. `available`: as the kernel lists them, blanks between. */
export function congestion(available = listed()): { args: string[]; note: string } {
  if (available.split(/\s+/).includes(WANTED)) {
    return { args: ["--congestion", WANTED], note: `TCP bandwidth is that of ${WANTED}` };
  }
  return {
    args: [],
    note:
      `TCP bandwidth is that of the kernel's own congestion control, as there is no ${WANTED} ` +
      `(there is: ${available.trim() || "unknown"})`,
  };
}

function listed(): string {
  try {
    return Deno.readTextFileSync("/proc/sys/net/ipv4/tcp_available_congestion_control");
  } catch {
    return "";
  }
}
