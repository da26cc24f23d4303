/** What a running agent says of itself: its file in the state directory, and its answers over HTTP. */
import { join } from "node:path";

/** agent.json (src/agent/agent.ts). What is absent, an older agent did not tell. */
export interface AgentFile {
  pid: number;
  /** RFC 3339. */
  startedAt: string;
  /** `127.0.0.1:9879`, or off. */
  healthAddress?: string;
  /** For whoever wants to change something at that address. */
  token?: string;
}

/** @throws Error when no agent runs, or it has not come so far as to write the file */
export function readAgentFile(stateDir: string): AgentFile {
  const path = join(stateDir, "agent.json");
  try {
    return JSON.parse(Deno.readTextFileSync(path));
  } catch {
    throw new Error(`no agent runs on this node, or it is not ready yet: nothing in ${path}`);
  }
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
