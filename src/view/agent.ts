/** Reads a running agent: its file in the state directory, and its HTTP server. */
import { readState, type StateFiles, statePath } from "../node/state_files.ts";

/** @throws Error when no agent runs, or none is ready yet */
export function readAgentFile(stateDir: string): StateFiles["agent"] {
  const agent = readState(stateDir, "agent");
  if (agent !== undefined) return agent;
  const path = statePath(stateDir, "agent");
  throw new Error(`no agent runs on this node, or it is not ready yet: nothing in ${path}`);
}

/** @throws Error when the agent does not respond */
export async function askAgent(
  address: string,
  path: string,
  { timeoutMs, put }: { timeoutMs: number; put?: { token: string; body: string } },
): Promise<{ status: number; text: string }> {
  // An agent that listens at all addresses is asked at loopback.
  const host = address.replace(/^(0\.0\.0\.0|\[::\]):/, "127.0.0.1:");
  try {
    const response = await fetch(`http://${host}${path}`, {
      signal: AbortSignal.timeout(timeoutMs),
      method: put === undefined ? "GET" : "PUT",
      body: put?.body,
      headers: put && { authorization: `Bearer ${put.token}` },
    });
    return { status: response.status, text: await response.text() };
  } catch {
    throw new Error(`the agent does not respond at ${host}: it may be busy or hang; see its log`);
  }
}
