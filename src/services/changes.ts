/** What is to be changed in the maps: what plan.ts works out and apply.ts does. */
import type { Backend } from "../model/frontend.ts";
import type { ServiceEntry } from "./kernel.ts";
import type { RangeChanges } from "./ranges.ts";
import type { Run } from "./runs.ts";
import type { TableWrite } from "./tables.ts";

export interface RunWrite {
  first: number;
  backends: readonly Backend[];
}

export interface ServiceWrite {
  /** `frontendKey()`. */
  key: string;
  entry: ServiceEntry;
}

/** Sessions that must go, because their backend is no longer there for them. */
export interface StaleSessions {
  /** `frontendKey()` of the frontend they came through. */
  frontend: string;
  /** By `backendKey()`. True: also connections that are not established, since nothing will answer their SYN. */
  backends: Map<number, boolean>;
}

interface Shortage {
  /** `namespace/name`. */
  service: string;
  map: "services" | "backends" | "source_ranges" | "maglev";
  message: string;
}

/** In the order of application. */
export interface Changes {
  runs: RunWrite[];
  tables: TableWrite[];
  services: ServiceWrite[];
  /** Added before `services`, removed after `deletes`. */
  ranges: RangeChanges;
  /** Before `services` when these would not fit otherwise. */
  deletesFirst: boolean;
  /** `frontendKey()`s. */
  deletes: string[];
  /** No longer pointed to once the above is done. */
  freed: Run[];
  freedTables: number[];
  stale: StaleSessions[];
  /** Services that did not get what they need. They keep what they have; a new one refuses connections. */
  shortages: Shortage[];
}
