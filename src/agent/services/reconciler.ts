/**
 * Keeps the kernel's maps at what is desired: objects change, the services layer works out what that means, and the
 * difference is written. A full sync reads the maps first, so it repairs whatever was altered in them; the first sync of an
 * agent is full, which is how it takes up where the last one stopped.
 */
import { SCOPE } from "../../abi/enums.ts";
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import type { LbAlgorithm } from "../../model/objects.ts";
import { type Change, emptyState } from "../../model/state.ts";
import { applyChanges, isEmpty } from "../../services/apply.ts";
import type { ExternalIPs } from "../../services/claims.ts";
import { DesiredState, type HealthCheck } from "../../services/desired.ts";
import { IdRegister } from "../../services/ids.ts";
import type { KernelState } from "../../services/kernel.ts";
import type { Changes } from "../../services/changes.ts";
import type { ServiceFrontends } from "../../services/frontends.ts";
import { Planner } from "../../services/plan.ts";
import { judgeOrphans } from "../../services/sessions.ts";
import type { Log } from "../log.ts";
import { AlterationCheck, KernelWriter, readKernel } from "./kernel_maps.ts";
import { type Names, servicePortNames } from "../maps/names.ts";
import { type Clock, Runner, systemClock } from "../runner.ts";
import { endSessions, SessionCleaner } from "./stale_sessions.ts";
import { noteTrackedFlows } from "./tracked_flows.ts";
import { TroubleLog } from "./trouble_log.ts";

interface ReconcilerOptions {
  maps: Pick<
    DataPlaneMaps,
    "services" | "backends" | "source_ranges" | "maglev" | "sessions" | "assured" | "names"
  >;
  nodeName: string;
  /** Of Services without the annotation; undefined: random. */
  lbAlgorithm?: LbAlgorithm;
  externalIPs?: ExternalIPs;
  log: Log;
  /** Milliseconds between full syncs. */
  resyncMs: number;
  /** Whether all cluster objects are known. While not, entries that no object accounts for stay. */
  complete: () => boolean;
  synced?: (sync: ServiceSync) => void;
  failed?: () => void;
  clock?: Clock;
}

/** A sync that succeeded. */
export interface ServiceSync {
  /** All entries were compared with the maps, not only those of changed objects. */
  full: boolean;
  /** Entries were written or deleted. */
  changed: boolean;
  seconds: number;
  /** Seconds from the arrival of the oldest change until the maps held it; undefined: no change was the reason. */
  latency?: number;
  /** By healthCheckNodePort. */
  healthChecks: ReadonlyMap<number, HealthCheck>;
}

/** How long a run of backends rests before it is used again, in milliseconds. */
const quarantineMs = 1000;

/** Entries of `services` that take a millisecond or two to compare. */
const FEW_ENTRIES = 200;

/** Until Services that were short of room are tried again: ten times as long as a sync takes, and in milliseconds. */
const longestPauseMs = 10_000;

/** Names in one batch. */
const namedAtOnce = 4096;

export class Reconciler {
  /** More changes follow at once: they are synced together. */
  more = false;
  readonly #desired: DesiredState;
  readonly #writer: KernelWriter;
  readonly #alterations: AlterationCheck;
  readonly #cleaner: SessionCleaner;
  readonly #names: Names;
  readonly #runner: Runner;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Undefined until it is read, during a sync, and when writing has failed. */
  #kernel: KernelState | undefined;
  /** The last sync succeeded. */
  #synced = false;
  /** From when on there may be room for the Services that were short of it; undefined: nothing became free. */
  #roomAt: number | undefined;
  #ids: IdRegister | undefined;
  readonly #trouble: TroubleLog;
  #failure: unknown;
  #started = false;
  /** When the oldest change that is not in the maps yet came. */
  #since: number | undefined;
  #lookAt = 0;
  readonly #options: ReconcilerOptions;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log;
    this.#trouble = new TroubleLog(options.log);
    const { nodeName, lbAlgorithm, externalIPs } = options;
    this.#desired = new DesiredState(nodeName, emptyState(), { lbAlgorithm, externalIPs });
    this.#writer = new KernelWriter(options.maps);
    this.#alterations = new AlterationCheck(options.maps);
    this.#cleaner = new SessionCleaner(options.maps, this.#log, this.#clock);
    this.#names = servicePortNames(options.maps.names, this.#log);
    this.#runner = new Runner({
      run: (full) => this.#reconcile(full),
      failed: (error, retryMs) => {
        this.#failure = error;
        this.#synced = false;
        this.#options.failed?.();
        this.#log.error({ err: error, retryMs }, "cannot sync Services to the maps");
      },
      // A change is written at once, what comes within this time of it together: a sync of one Service takes 0.3 ms.
      minMs: 2,
      fullMs: options.resyncMs,
      clock: this.#clock,
    });
  }

  /** Whether the maps are in sync: not before the first sync, and not after one that failed. */
  get healthy(): boolean {
    return this.#synced;
  }

  /** Objects changed. Nothing is written before `start()`. */
  changes(changes: readonly Change[]) {
    this.#since ??= this.#clock.now();
    for (const change of changes) this.#desired.apply(change);
    if (this.#started && !this.more) this.#runner.request();
  }

  /**
   * Reads the maps, brings them to what is desired now, and goes on doing so.
   * @throws {SyscallError} when that fails the first time
   */
  async start() {
    this.#started = true;
    this.#runner.request();
    await this.#runner.idle();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#kernel === undefined) return; // stopped
    const ended = endSessions(this.#options.maps, judgeOrphans(this.#kernel));
    if (ended > 0) this.#log.info({ ended }, "sessions without a service or backend ended");
    const { services, nodes } = this.#desired.state;
    this.#log.info(
      { services: services.size, nodes: nodes.size },
      "cluster objects are in the maps",
    );
  }

  /** Looks for what another program did to the maps, which nothing reports: for a four-hundredth of the time where they are many. */
  look() {
    const now = this.#clock.now();
    if (this.#kernel === undefined) return;
    const late = now < this.#lookAt || !this.#alterations.isDue(now);
    if (late && this.#kernel.services.size > FEW_ENTRIES) return;
    if (this.#alterations.isAltered(this.#kernel, now)) {
      const text =
        "another program changed entries of Services in the maps; they are written again";
      this.#log.warn({ event: "MapsAltered" }, text);
      this.#runner.requestFull();
    }
    this.#lookAt = this.#clock.now() + 400 * (this.#clock.now() - now);
  }

  stop() {
    this.#runner.stop();
    this.#cleaner.stop();
  }

  *#reconcile(full: boolean): Generator<void, void, void> {
    const start = this.#clock.now(), since = this.#since;
    this.#since = undefined;
    const kernel = full || this.#kernel === undefined ? yield* this.#read() : this.#kernel;
    if (this.#roomAt !== undefined && start >= this.#roomAt) this.#retryShort();
    this.#ids ??= new IdRegister(new Set([...kernel.services.values()].map(({ id }) => id)));
    this.#kernel = undefined; // not to be trusted if something throws
    const planner = new Planner(kernel, this.#ids, start);
    const add = (service: ServiceFrontends) => planner.add(service);
    const { removed, issues, recomputed } = yield* this.#desired.sync(full, add);
    const changes = yield* planner.finish(full && this.#options.complete() ? "others" : removed);
    this.#noteTracked(changes, kernel);
    if (!isEmpty(changes)) this.#alterations.forget(this.#clock.now());
    yield* applyChanges(changes, kernel, this.#writer, () => this.#clock.now());
    this.#kernel = kernel;
    this.#synced = true;
    this.#desired.commit();
    yield;
    yield* this.#nameServices(changes, full);
    this.#trouble.issues(issues);
    this.#cleaner.add(changes.stale, kernel);
    yield;
    this.#trouble.shortages(changes.shortages, recomputed);
    this.#awaitRoom(changes, start);
    yield;
    this.#finish(changes, full, start, since);
  }

  /** The node's own flows at ports that Services are about to take. */
  #noteTracked({ services }: Changes, kernel: KernelState) {
    const taken = services.filter(({ key }) =>
      key.scope === SCOPE.EXTERNAL && key.port !== 0 && !kernel.services.has(key.text)
    ).map(({ key }) => key);
    try {
      const noted = noteTrackedFlows(this.#options.maps, taken);
      if (noted > 0) this.#log.info({ noted }, "flows of the node at ports that Services took");
    } catch (error) {
      this.#log.debug({ err: error }, "cannot read the node's tracked flows");
    }
  }

  /** What is gone keeps its name till the next full sync: sessions may still have its id. */
  *#nameServices({ services }: Changes, full: boolean): Generator<void, void, void> {
    const ids = this.#ids!;
    if (full) return this.#names.replace(ids.names());
    for (let first = 0; first < services.length; first += namedAtOnce) {
      const some = services.slice(first, first + namedAtOnce);
      this.#names.add(some.map(({ id }) => [id, ids.portOf(id)?.text ?? ""] as const));
      yield;
    }
  }

  *#read(): Generator<void, KernelState, void> {
    const kernel = yield* readKernel(this.#options.maps, quarantineMs);
    if (this.#kernel !== undefined) {
      kernel.extents.adoptQuarantined(this.#kernel.extents, this.#clock.now());
      kernel.tables.allocator.adoptQuarantined(this.#kernel.tables.allocator, this.#clock.now());
    }
    return kernel;
  }

  /** Tries again what was short of room once what became free may be used; less often where that takes long. */
  #awaitRoom({ freed, freedTables, deletes, ranges, shortages }: Changes, start: number) {
    // Entries that were left out free their extents.
    const left = shortages.filter(({ map }) => map === "services").length;
    const free = freed.length > left || freedTables.length > left || deletes.length > 0 ||
      ranges.remove.length > 0;
    const now = this.#clock.now();
    const pause = Math.min(longestPauseMs, 10 * (now - start));
    if (free) this.#roomAt ??= now + Math.max(quarantineMs + 100, pause);
    if (this.#roomAt !== undefined && this.#trouble.isShort) {
      this.#runner.requestIn(this.#roomAt - now);
    }
  }

  #retryShort() {
    this.#roomAt = undefined;
    for (const service of this.#trouble.short) this.#desired.invalidate(service);
  }

  #finish(changes: Changes, full: boolean, start: number, since: number | undefined) {
    const now = this.#clock.now();
    const changed = !isEmpty(changes);
    this.#options.synced?.({
      full,
      changed,
      seconds: (now - start) / 1000,
      latency: since === undefined ? undefined : (now - since) / 1000,
      healthChecks: this.#desired.healthChecks,
    });
    if (!changed && !full) return;
    const rounded = (ms: number) => Math.round(ms * 100) / 100;
    this.#log.debug({
      full,
      services: changes.services.length,
      backends: changes.extents.reduce((sum, { backends }) => sum + backends.length, 0),
      deleted: changes.deletes.length,
      tookMs: rounded(now - start),
      sinceChangeMs: since === undefined ? undefined : rounded(now - since),
    }, "maps are up to date");
  }
}
