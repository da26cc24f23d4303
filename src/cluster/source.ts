/** A source of cluster objects, and what it reports to the agent. */
import type { WatchState } from "../model/agent_state.ts";
import type { Change } from "../model/state.ts";

/** Something wrong with what a source reads, reported once. */
export interface SourceProblem {
  /** A file, or where else it was read. */
  file: string;
  /** From 1; 0: the whole file. */
  line: number;
  /** `Service default/web`, as far as known. */
  object?: string;
  reason: string;
}

/** What a source reports to. Called synchronously; must not throw. */
export interface SourceListener {
  /** Objects came, changed or went, in this order. Never empty. @param more others follow at once */
  changes(changes: Change[], more?: boolean): void;
  problem(problem: SourceProblem): void;
  /** All of a file's problems are gone. */
  recovered(file: string): void;
  /** An object of a kind that pcnk does not read. */
  ignored(file: string, type: string): void;
}

/** A source of cluster objects. */
export interface Source {
  /** Reports what is there now; returns when that is done, and goes on reporting changes. */
  start(): Promise<void>;
  /**
   * False while something could not be read since the start: then an entry of the kernel that no known object accounts
   * for may belong to what was not read, and must stay.
   */
  readonly complete: boolean;
  /** Why it receives no changes now, and since when; undefined: it does. */
  readonly trouble?: { reason: string; sinceMs: number } | undefined;
  /** The state of its watches; undefined: it has none. */
  readonly watches?: readonly WatchState[];
  close(): void;
}
