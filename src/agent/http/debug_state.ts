/** What a running agent tells of itself at /debug/state, for `pcnk status`. */
import type { AgentConfig } from "../../config/schema.ts";
import type { AgentState, WatchState } from "../../model/agent_state.ts";
import type { SourceChoice } from "../sources/object_source.ts";
import type { Log } from "../log.ts";

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
