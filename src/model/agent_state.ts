/** What a running agent reports about itself at /debug/state. */

/** How following one kind of objects goes. Times are milliseconds before now; undefined: never yet. */
export interface WatchState {
  /** services, endpoints, nodes, pods; settings of etcd. */
  resource: string;
  /** A watch is open. */
  connected: boolean;
  /** All of it was read once. */
  synced: boolean;
  /** Since something was heard, an object or a bookmark. */
  heardMs?: number;
  /** Since the resource version changed from which a watch would go on. */
  versionMs?: number;
  /** Objects that a watch told of. */
  events: number;
  /** Lists that were read to their end; more than one: there were gaps, or it was time. */
  lists: number;
  /** Failed attempts. */
  errors: number;
  /** Error of the last attempt, until one succeeds. */
  reason?: string;
}

/** /debug/state, for `pcnk status`. */
export interface AgentState {
  logLevel: string;
  /** Where cluster objects come from: the API server's address, or a directory. */
  source: { server: string } | { manifests: string };
  /** Servers of etcd; absent: it is not asked. */
  etcd?: string[];
  /** Of the API server by kind of objects, and of etcd. */
  watches: readonly WatchState[];
}
