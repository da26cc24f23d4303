/** What is to be changed in the maps: what plan.ts works out and apply.ts does. */
import type { Backend, BackendKey, FrontendKey } from "../model/frontend.ts";
import type { ServiceEntry } from "./kernel.ts";
import type { RangeChanges } from "./ranges.ts";
import type { Extent } from "./extents.ts";
import type { TableWrite } from "./tables.ts";

export interface ExtentWrite {
  first: number;
  backends: readonly Backend[];
}

/** A backend that a frontend has lost. */
interface LostBackend extends BackendKey {
  /** Not draining either: nothing will answer the SYN of a connection that is not established. */
  gone: boolean;
}

/** Sessions that must go, because their backend is no longer there for them. */
export interface StaleSessions {
  /** What they came through. */
  frontend: FrontendKey;
  backends: readonly LostBackend[];
}

interface Shortage {
  /** `namespace/name`. */
  service: string;
  map: "services" | "backends" | "source_ranges" | "maglev";
  message: string;
}

/** In the order of application. */
export interface Changes {
  extents: ExtentWrite[];
  tables: TableWrite[];
  services: ServiceEntry[];
  /** Added before `services`, removed after `deletes`. */
  ranges: RangeChanges;
  /** Before `services` when these would not fit otherwise. */
  deletesFirst: boolean;
  deletes: FrontendKey[];
  /** No longer pointed to once the above is done. */
  freed: Extent[];
  freedTables: number[];
  stale: StaleSessions[];
  /** Services that did not get what they need. They keep what they have; a new one refuses connections. */
  shortages: Shortage[];
}
