/** The load tools: which are here, their versions, how to get the others, and what TCP they use. */

/** Program and the Debian package that has it. */
const TOOLS = { iperf3: "iperf3", sockperf: "sockperf", wrk: "wrk" } as const;

/** A load tool, or pcnk's own. */
export type Tool = keyof typeof TOOLS | "pcnk";

/** How each prints its version; wrk exits with 1 then. */
const VERSION: Record<keyof typeof TOOLS, [argument: string, pattern: RegExp]> = {
  iperf3: ["--version", /^iperf (\d\S*)/m],
  sockperf: ["--version", /version (\d[\d.]*)/],
  wrk: ["-v", /^wrk (?:debian\/)?(\S+)/m],
};

/** Versions of the tools that are here. */
export function findTools(): Partial<Record<Tool, string>> {
  const found: Partial<Record<Tool, string>> = { pcnk: "" };
  for (const tool of Object.keys(TOOLS) as (keyof typeof TOOLS)[]) {
    const [argument, pattern] = VERSION[tool];
    try {
      const { stdout, stderr } = new Deno.Command(tool, { args: [argument] }).outputSync();
      const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      found[tool] = pattern.exec(text)?.[1] ?? "of an unknown version";
    } catch {
      // Not there.
    }
  }
  return found;
}

/** A note on missing tools; undefined: none is missing. */
export function missingTools(found: Partial<Record<Tool, string>>): string | undefined {
  const missing = (Object.keys(TOOLS) as (keyof typeof TOOLS)[]).filter((tool) => !(tool in found));
  if (missing.length === 0) return undefined;
  const packages = missing.map((tool) => TOOLS[tool]).join(" ");
  return `not installed: ${
    missing.join(", ")
  }; what they measure is left out (Debian: apt-get install ${packages})`;
}

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
