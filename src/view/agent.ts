/** What a running agent says of itself: its file in the state directory, and its answers over HTTP. */
import { readState, type StateFiles, statePath } from "../node/state_files.ts";

/** @throws Error when no agent runs, or none is ready yet */
export function readAgentFile(stateDir: string): StateFiles["agent"] {
  const agent = readState(stateDir, "agent");
  if (agent !== undefined) return agent;
  const path = statePath(stateDir, "agent");
  throw new Error(`no agent runs on this node, or it is not ready yet: nothing in ${path}`);
}

/** Asks the agent. @throws Error when it does not answer */
export async function askAgent(
  address: string,
  path: string,
  { timeoutMs, put }: { timeoutMs: number; put?: { token: string; body: string } },
): Promise<{ status: number; text: string }> {
  // One that listens everywhere is asked at loopback.
  const host = address.replace(/^(0\.0\.0\.0|\[::\]):/, "127.0.0.1:");
  try {
    const answer = await fetch(`http://${host}${path}`, {
      signal: AbortSignal.timeout(timeoutMs),
      ...(put === undefined ? {} : {
        method: "PUT",
        body: put.body,
        headers: { authorization: `Bearer ${put.token}` },
      }),
    });
    return { status: answer.status, text: await answer.text() };
  } catch {
    throw new Error(`the agent does not answer at ${host}`);
  }
}
