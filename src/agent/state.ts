/** What a running agent tells of itself at /debug/state, for `pcnk status`. */
import type { WatchState } from "../cluster/source.ts";
import type { AgentConfig } from "../config/schema.ts";
import type { SourceChoice } from "./cluster_source.ts";
import type { Log } from "./log.ts";

/** Times in milliseconds before now. */
export interface AgentState {
  logLevel: string;
  /** Where cluster objects come from: the API server's address, or a directory. */
  source: { server: string } | { manifests: string };
  /** Servers of etcd; absent: it is not asked. */
  etcd?: string[];
  /** Of the API server by kind of objects, and of etcd. */
  watches: readonly WatchState[];
}

/** The state now. */
export function agentState(
  { log, config, choice }: {
    log: Pick<Log, "level">;
    config: Pick<AgentConfig, "etcd_url">;
    choice: SourceChoice;
  },
  watches: readonly WatchState[],
): AgentState {
  const source = "access" in choice
    ? { server: choice.access.server }
    : { manifests: choice.manifests };
  const { etcd_url } = config;
  return {
    logLevel: log.level,
    source,
    ...(etcd_url === undefined ? {} : { etcd: etcd_url.map(withoutPassword) }),
    watches,
  };
}

/** A URL may carry a user and a password. */
function withoutPassword(url: string): string {
  return url.replace(/\/\/[^/@]*@/, "//");
}
