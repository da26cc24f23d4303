/** The agent's part of a node's status: whether it runs, its health, and its watches. */
import type { AgentState, WatchState } from "../model/agent_state.ts";
import { readState } from "../node/state_files.ts";
import { askAgent } from "./agent.ts";
import { formatAge } from "./sessions.ts";
import type { Finding } from "./finding.ts";
import { silenceFinding } from "./silent_agent.ts";

const LOGS =
  "see systemctl status pcnk, or the logs of its Pod; Services stay as they are meanwhile";

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
    const text = `does not run: process ${file.pid} was killed or crashed`;
    return [{ part, health: "warn", text, next: LOGS }];
  }
  const age = formatAge((Date.now() - Date.parse(file.startedAt)) / 1000);
  const text = `runs as process ${file.pid}, started ${age} ago`;
  return [{ part, health: "ok", text }, ...await httpFindings(file.healthAddress, timeoutMs)];
}

/** Whether the process lives and is an agent: its id may be reused, or it may be a zombie. */
function isAgent(pid: number): boolean {
  try {
    const args = Deno.readTextFileSync(`/proc/${Number(pid)}/cmdline`).split("\0"); // empty of a zombie
    return args.includes("agent");
  } catch {
    return false;
  }
}

/** From the agent's HTTP server. */
async function httpFindings(address: string | undefined, timeoutMs: number): Promise<Finding[]> {
  if (address === undefined || address === "off") return [];
  try {
    const health = await askAgent(address, "/healthz", { timeoutMs });
    const state = await askAgent(address, "/debug/state", { timeoutMs });
    const sources = state.status === 200 ? sourceFindings(JSON.parse(state.text)) : [];
    return [...healthFindings(health.text, sources), ...sources];
  } catch {
    return [await silenceFinding(address)];
  }
}

const NEXT: Readonly<Record<string, string>> = {
  source: "check that this node reaches the API server; Services stay as they are until it does",
  cni: "see the agent's log; pods cannot be added until the configuration is written",
};

/** Checks of /healthz that a finding of a source covers, when that one is not ok. */
const COVERED: Readonly<Record<string, Finding["part"]>> = { source: "api", settings: "etcd" };

/** Checks of what `pcnk status` finds by itself in the kernel, but for an object that another program changes again and again. */
const OWN = /^(objects|pods)$/;

/** Failed checks of /healthz that `sources` do not cover. */
export function healthFindings(healthz: string, sources: readonly Finding[]): Finding[] {
  const covered = (name: string) =>
    sources.some(({ part, health }) => part === COVERED[name] && health !== "ok");
  return [...healthz.matchAll(/^\[-\](\S+) failed: (.*)$/gm)]
    .filter(([, name = "", reason = ""]) =>
      !covered(name) && (!OWN.test(name) || / times within a minute /.test(reason))
    )
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
      next: `curl -k ${server}/livez from this node; known objects stay in effect meanwhile`,
    };
  }
  const waiting = watches.filter(({ synced }) => !synced).map(({ resource }) => resource);
  if (waiting.length > 0) {
    const text = `${server}: ${waiting.join(", ")} being read`;
    return { part, health: "note", text, next: "repeat pcnk status in some seconds" };
  }
  const heard = Math.max(...watches.map(({ heardMs = 0 }) => heardMs));
  const names = watches.map(({ resource }) => resource).join(", ");
  const last = `${server}: follows ${names}; each heard in the last ${formatAge(heard / 1000)}`;
  return { part, health: "ok", text: last };
}

function etcdFinding(servers: string, { reason, synced, heardMs }: WatchState): Finding {
  const part = "etcd";
  if (reason !== undefined) {
    const stays = synced ? "its last values stay in effect" : "annotations are in effect meanwhile";
    return {
      part,
      health: "warn",
      text: `${servers}: ${reason}; ${stays}`,
      next: `etcdctl --endpoints ${servers.split(", ")[0]} endpoint health, from this node`,
    };
  }
  if (!synced) return { part, health: "note", text: `${servers}: settings are being read` };
  const age = formatAge((heardMs ?? 0) / 1000);
  return { part, health: "ok", text: `${servers}: settings followed, last event ${age} ago` };
}
