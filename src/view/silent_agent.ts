/** Why an agent that runs does not respond: it hangs, it does not listen, or a firewall of the node takes the request. */
import { splitHostPort } from "../net/host_port.ts";
import type { Finding } from "./finding.ts";
import { loopbackCulprits } from "./netfilter.ts";

const SYN_SENT = 2;
const LISTEN = 10;

/** A line of /proc/net/tcp (Documentation/networking/proc_net_tcp.rst). */
interface Socket {
  localPort: number;
  remotePort: number;
  /** Of include/net/tcp_states.h. */
  state: number;
  /** Of a listening socket: connections that were not accepted yet. */
  waiting: number;
}

/** Reads the text of /proc/net/tcp or tcp6. */
export function parseSockets(text: string): Socket[] {
  const pattern = /^\s*\d+: \w+:(\w{4}) \w+:(\w{4}) (\w\w) \w+:(\w+)/gm;
  return [...text.matchAll(pattern)].map((match) => {
    const [localPort, remotePort, state, waiting] = match.slice(1).map((hex) => parseInt(hex, 16));
    return { localPort, remotePort, state, waiting } as Socket;
  });
}

/** Asks again, and looks meanwhile at what becomes of the connection. @param address where the agent should listen */
export async function silenceFinding(address: string): Promise<Finding> {
  const { port } = splitHostPort(address);
  const request = fetch(`http://127.0.0.1:${port}/livez`, { signal: AbortSignal.timeout(800) });
  const refused = request.then(
    ({ body }) => void body?.cancel(),
    (error) => error.name !== "TimeoutError",
  );
  await new Promise((done) => setTimeout(done, 400));
  const sockets = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((path) => parseSockets(read(path)));
  return judgeSilence(address, sockets, await refused ?? false, culpritsAt(port));
}

/** @param refused the connection was refused @param culprits rules of the node that drop packets to the port */
export function judgeSilence(
  address: string,
  sockets: readonly Socket[],
  refused: boolean,
  culprits: readonly string[],
): Finding {
  const part = "agent", health = "warn";
  const { port } = splitHostPort(address);
  const listener = sockets.find(({ state, localPort }) => state === LISTEN && localPort === port);
  if (listener === undefined) {
    const text = `does not listen at ${address}`;
    return { part, health, text, next: "see its log; another process may have had the port" };
  }
  const unanswered = sockets.some(({ state, remotePort }) =>
    state === SYN_SENT && remotePort === port
  );
  // The kernel completes a handshake for a process that hangs, as long as its backlog has room.
  if (!refused && (!unanswered || listener.waiting > 0)) {
    const text = `does not respond at ${address}`;
    return { part, health, text, next: "see its log; it may be busy, or hang" };
  }
  const named = culprits.length === 0 ? "" : ` (${culprits.join(", ")})`;
  const text =
    `a firewall rule of this node ${refused ? "rejects" : "drops"} packets on its loopback ` +
    `device to ${address}${named}: the agent listens, and neither pcnk nor the kubelet's probes reach it`;
  return { part, health, text, next: "accept them: iptables -I INPUT -i lo -j ACCEPT" };
}

function culpritsAt(port: number): string[] {
  try {
    return loopbackCulprits(port);
  } catch {
    return []; // only their names are lacking
  }
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return ""; // no IPv6
  }
}
