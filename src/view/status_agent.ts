/** The agent's part of a node's status: whether it runs, what it says of itself, and how what it follows goes. */
import type { AgentState, WatchState } from "../model/agent_state.ts";
import { readState } from "../node/state_files.ts";
import { askAgent } from "./agent.ts";
import { formatAge } from "./sessions.ts";
import type { Finding } from "./finding.ts";

const LOGS = "systemctl status pcnk, or the logs of its pod; services stay as they are meanwhile";

/** What is known of the agent in this state directory. */
export async function agentFindings(stateDir: string, timeoutMs: number): Promise<Finding[]> {
  const part = "agent";
  const file = readState(stateDir, "agent");
  if (file === undefined) {
    const text = `does not run (nothing in ${stateDir}/agent.json)`;
    const next = `${LOGS}; on a node that never had one: pcnk install, or pcnk manifest`;
    return [{ part, health: "warn", text, next }];
  }
  if (!isAgent(file.pid)) {
    const text = `does not run: process ${file.pid} ended without a word`;
    return [{ part, health: "warn", text, next: LOGS }];
  }
  const age = formatAge((Date.now() - Date.parse(file.startedAt)) / 1000);
  const text = `runs as process ${file.pid}, started ${age} ago`;
  return [{ part, health: "ok", text }, ...await toldFindings(file.healthAddress, timeoutMs)];
}

/** Whether the process lives and is an agent: its number may be another's by now, and a dead one may not be buried yet. */
function isAgent(pid: number): boolean {
  try {
    const words = Deno.readTextFileSync(`/proc/${Number(pid)}/cmdline`).split("\0"); // empty of a zombie
    return words.includes("agent");
  } catch {
    return false;
  }
}

/** What the agent tells over HTTP. */
async function toldFindings(address: string | undefined, timeoutMs: number): Promise<Finding[]> {
  if (address === undefined || address === "off") return [];
  try {
    const health = await askAgent(address, "/healthz", { timeoutMs });
    const state = await askAgent(address, "/debug/state", { timeoutMs });
    const sources = state.status === 200 ? sourceFindings(JSON.parse(state.text)) : [];
    return [...healthFindings(health.text, sources), ...sources];
  } catch {
    const text = `does not answer at ${address}`;
    const next = "see its log; it may be busy, or hang";
    return [{ part: "agent", health: "warn", text, next }];
  }
}

const NEXT: Readonly<Record<string, string>> = {
  source: "can this node reach the API server? services stay as they are until it can",
  cni: "see the agent's log; pods cannot be added until the configuration is written",
};

/** Checks of /healthz that are told as a source of their own, when that one is not well. */
const TOLD: Readonly<Record<string, Finding["part"]>> = { source: "api", settings: "etcd" };

/** What is wrong by /healthz, unless `sources` say the same at more length. */
export function healthFindings(answer: string, sources: readonly Finding[]): Finding[] {
  const told = (name: string) =>
    sources.some(({ part, health }) => part === TOLD[name] && health !== "ok");
  return [...answer.matchAll(/^\[-\](\S+) failed: (.*)$/gm)]
    .filter(([, name = ""]) => !told(name))
    .map(([, name = "", reason]) => ({
      part: "agent",
      health: "warn",
      text: `${name}: ${reason}`,
      next: NEXT[name] ?? "see the agent's log",
    }));
}

/** The API server or the manifests, and etcd. */
export function sourceFindings({ source, etcd, watches }: AgentState): Finding[] {
  const ofEtcd = watches.filter(({ resource }) => resource === "etcd");
  const ofApi = watches.filter(({ resource }) => resource !== "etcd");
  const first: Finding = "server" in source
    ? apiFinding(source.server, ofApi)
    : { part: "api", health: "ok", text: `not used: objects come from ${source.manifests}` };
  const second = ofEtcd.map((watch) => etcdFinding((etcd ?? []).join(", "), watch));
  return [first, ...second];
}

function apiFinding(server: string, watches: readonly WatchState[]): Finding {
  const part = "api";
  const failing = watches.filter(({ reason }) => reason !== undefined);
  if (failing.length > 0) {
    const names = failing.map(({ resource }) => resource).join(", ");
    const heard = Math.min(...failing.map(({ heardMs = Infinity }) => heardMs));
    const since = heard === Infinity ? "never heard" : `last heard ${formatAge(heard / 1000)} ago`;
    return {
      part,
      health: "warn",
      text: `${server}: ${names} not followed, ${since}: ${failing[0]!.reason}`,
      next: `curl -k ${server}/livez from this node; what was known stays in effect meanwhile`,
    };
  }
  const waiting = watches.filter(({ synced }) => !synced).map(({ resource }) => resource);
  if (waiting.length > 0) {
    const text = `${server}: ${waiting.join(", ")} being read`;
    return { part, health: "note", text, next: "ask again in some seconds" };
  }
  const heard = Math.max(...watches.map(({ heardMs = 0 }) => heardMs));
  const names = watches.map(({ resource }) => resource).join(", ");
  const last = `${server}: follows ${names}; each heard in the last ${formatAge(heard / 1000)}`;
  return { part, health: "ok", text: last };
}

function etcdFinding(servers: string, { reason, synced, heardMs }: WatchState): Finding {
  const part = "etcd";
  if (reason !== undefined) {
    const stays = synced ? "what it said last stays in effect" : "annotations count meanwhile";
    return {
      part,
      health: "warn",
      text: `${servers}: ${reason}; ${stays}`,
      next: `etcdctl --endpoints ${servers.split(", ")[0]} endpoint health, from this node`,
    };
  }
  if (!synced) return { part, health: "note", text: `${servers}: being asked for settings` };
  const age = formatAge((heardMs ?? 0) / 1000);
  return { part, health: "ok", text: `${servers}: settings followed, last news ${age} ago` };
}
