/**
 * Checks the table of objects (src/upkeep/table.ts), mends what can be mended, and knows what cannot: for /readyz, the Node's
 * condition and its Events. What rtnetlink reports is checked at once, what nothing reports every second, all every half minute.
 */
import type { DataPlane } from "../../bpf/dataplane.ts";
import { PinHolder } from "../../bpf/pin_holder.ts";
import type { AgentConfig } from "../../config/schema.ts";
import type { RtEvent } from "../../linux/rtnl_monitor.ts";
import type { RtNetlink } from "../../linux/rtnetlink.ts";
import { type Attachment, attachmentsDir, lockPath } from "../../node/attachments.ts";
import { AttachmentCache } from "../../node/attachment_cache.ts";
import { LockedError, lockWithin } from "../../node/lock.ts";
import { type Fault, type NodeState, readOnce, type Row, unchecked } from "../../upkeep/fault.ts";
import { TABLE } from "../../upkeep/table.ts";
import type { Log } from "../log.ts";
import { KnownObjects } from "./known_objects.ts";
import { Repairs } from "./repairs.ts";

interface UpkeepOptions {
  dataPlane: DataPlane;
  nl: RtNetlink;
  config: Pick<AgentConfig, "stateDir" | "attach">;
  known: KnownObjects;
  log: Log;
  installHostlb: () => void;
  /** Called every second: others look at what is theirs. */
  everySecond: () => void;
  /** Called with the row of an object that was broken and is mended. */
  mended: (row: string) => void;
  /** Called when faults were found, mended or went away. */
  changed: () => void;
}

const times = {
  secondMs: 1000,
  allMs: 30_000,
  /** In which events are collected: a pod's devices make a dozen. */
  burstMs: 50,
};

/** Events after which an object may be broken. */
const BREAKING: ReadonlySet<RtEvent["type"]> = new Set<RtEvent["type"]>([
  "link",
  "link-gone",
  "address",
  "address-gone",
  "route",
  "route-gone",
  "rule",
  "filter",
  "port",
  "lost",
]);

/** Milliseconds to wait for CNI calls; one that hangs must not keep other rows from being mended. */
const LOCK_MS = 1000;

const PINS = TABLE.find(({ name }) => name === "pins")!;
const BRIDGE = TABLE.find(({ name }) => name === "bridge")!;

/** Rows that are checked after events too: what stops forwarding comes as one, and without pins no program is attached. */
const ALWAYS: ReadonlySet<string> = new Set([PINS.name, "sysctls"]);

function isBreaking(event: RtEvent): boolean {
  if (event.type === "parameters") return event.parameters.forwarding === false;
  return BREAKING.has(event.type);
}

/** A fault that lasts. */
interface Standing {
  fault: Fault;
  /** Of performance.now(). */
  since: number;
  graceMs: number;
  reported: boolean;
}

export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #pins: PinHolder;
  readonly #records: AttachmentCache;
  /** The records when they were last whole. */
  #former: readonly Attachment[] = [];
  readonly #repairs = new Repairs();
  /** Fingerprints of rows when they had no fault. */
  readonly #whole = new Map<Row, string>();
  /** By row, then by object. */
  readonly #standing = new Map<string, Map<string, Standing>>();
  #contested = "";
  #timer: ReturnType<typeof setInterval> | undefined;
  #burst: ReturnType<typeof setTimeout> | undefined;
  #allAt = 0;
  /** Milliseconds that the last pass took. */
  #passMs = 0;
  #work: Promise<void> = Promise.resolve();
  #waiting = new Set<Row>();
  #stopped = false;
  /** Milliseconds to wait for the lock in this pass. */
  #lockMs = LOCK_MS;
  /** Something was mended in this pass. */
  #progress = false;

  constructor(options: UpkeepOptions) {
    this.#options = options;
    this.#pins = new PinHolder(options.dataPlane.bpffs);
    this.#records = new AttachmentCache(options.config.stateDir);
  }

  /** Checks all rows, and goes on doing so. */
  async start() {
    this.#pins.look();
    // An attempt to read what is not there costs more than all records of a node.
    const { stateDir } = this.#options.config;
    Deno.mkdirSync(attachmentsDir(stateDir), { recursive: true, mode: 0o700 });
    await this.#request(TABLE);
    if (!this.#stopped) this.#timer = setInterval(() => this.#second(), times.secondMs);
  }

  async stop() {
    this.#stopped = true;
    clearInterval(this.#timer);
    clearTimeout(this.#burst);
    await this.#work;
    this.#pins[Symbol.dispose]();
  }

  /** The agent itself has replaced or removed pins: they are held as they are now, and all rows are checked. */
  pinsChanged(): Promise<void> {
    this.#pins.renew();
    return this.#request(TABLE);
  }

  handle(events: readonly RtEvent[]) {
    if (this.#stopped || !events.some(isBreaking)) return;
    this.#burst ??= setTimeout(() => {
      this.#burst = undefined;
      void this.#request(
        TABLE.filter(({ name, watch }) => watch === "devices" || ALWAYS.has(name)),
      );
      // On a node with many pods a pass takes a while: a tenth of the time at most, while devices come and go.
    }, Math.min(times.secondMs, Math.max(times.burstMs, 10 * this.#passMs)));
  }

  /** What could not be mended, the gravest first. */
  get faults(): readonly Fault[] {
    const lasting = [...this.#standing.values()].flatMap((row) => [...row.values()])
      .filter(isLasting).map(({ fault }) => fault);
    const contested = this.#repairs.contested().map(([object, count]): Fault => ({
      object,
      text: `${object} was broken ${count} times within a minute by another program; ` +
        "it is mended every 10 s only",
      next: "find what changes it: a network manager, a firewall's or another network's agent",
    }));
    return [...lasting, ...contested].sort((a, b) =>
      Number(b.refuses ?? 0) - Number(a.refuses ?? 0)
    );
  }

  #second() {
    const now = performance.now();
    const all = now >= this.#allAt;
    if (all) this.#allAt = now + times.allMs;
    const devices = this.#pins.takeDetached();
    void this.#request(
      TABLE.filter((row) => all || row.watch === "second" || devices || this.#stands(row)),
    );
    this.#options.everySecond();
  }

  /** One pass at a time; rows that are asked for meanwhile are checked after it, together. */
  #request(rows: readonly Row[]): Promise<void> {
    const idle = this.#waiting.size === 0;
    for (const row of rows) this.#waiting.add(row);
    if (!idle) return this.#work;
    return this.#work = this.#work.then(() => {
      const wanted = TABLE.filter((row) => this.#waiting.has(row));
      this.#waiting.clear();
      return this.#pass(wanted);
    }).catch((error) => {
      this.#options.log.error({ err: error }, "cannot check the node's objects");
    });
  }

  async #pass(rows: readonly Row[]) {
    const start = performance.now();
    let node = this.#node();
    this.#progress = false;
    this.#lockMs = LOCK_MS;
    for (const row of rows) {
      if (this.#stopped) return;
      if (row.pinned && this.#stands(PINS)) continue;
      try {
        node = await this.#check(row, node);
      } catch (error) {
        this.#options.log.debug({ err: error, row: row.name }, "cannot be checked");
        this.#keep({ ...row, graceMs: UNCHECKED_MS }, [unchecked(row, error as Error)]);
      }
    }
    if (this.#standing.get(BRIDGE.name)?.size === 0) this.#learn(rows.includes(BRIDGE));
    this.#report();
    this.#passMs = performance.now() - start;
    // What could not be mended before may stand on what was.
    if (this.#progress) void this.#request(TABLE.filter((row) => this.#stands(row)));
  }

  #stands({ name }: Row): boolean {
    return (this.#standing.get(name)?.size ?? 0) > 0;
  }

  /** Learns what the node has, if devices, records or the podCIDR may have changed, and keeps it on disk. A full disk is reported once. */
  #learn(devices: boolean) {
    const { known, nl, log, dataPlane } = this.#options;
    try {
      const records = this.#records.read(), { podCIDR } = known.objects;
      if (devices || records !== this.#learnt?.records || podCIDR !== this.#learnt.podCIDR) {
        known.see(nl, dataPlane.maps.config.get(0)?.node_addr);
        known.learn(nl, records);
        this.#learnt = { records, podCIDR };
      }
      known.keep();
      this.#unwritten = "";
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#unwritten) {
        const text = `what a new agent must know of the bridge cannot be written: ${message}`;
        log.warn({ event: "StateDir" }, text);
      }
      this.#unwritten = message;
    }
  }
  #unwritten = "";
  /** With what it was learnt. */
  #learnt: { records: readonly Attachment[]; podCIDR: string | undefined } | undefined;

  /** @returns the node as it is now: read again when something was mended */
  async #check(row: Row, before: NodeState): Promise<NodeState> {
    let node = before;
    const fingerprint = row.fingerprint?.(node);
    if (fingerprint !== undefined && fingerprint === this.#whole.get(row)) return node;
    let faults = row.check(node);
    if (fingerprint !== undefined && faults.length === 0) this.#whole.set(row, fingerprint);
    else this.#whole.delete(row);
    if (faults.some((fault) => this.#mendable(fault))) {
      try {
        await this.#mendRow(row);
      } catch (error) {
        if (error instanceof LockedError) this.#lockMs = 0; // for the rest of the pass
        for (const { object } of faults) this.#repairs.failed(object, (error as Error).message);
      }
      if (this.#stopped) return node;
      faults = row.check(node = this.#node());
    }
    this.#keep(row, faults);
    if (row.name === "records" && faults.length === 0) this.#former = node.records;
    return node;
  }

  async #mendRow(row: Row) {
    const { stateDir } = this.#options.config;
    // Also where the state directory is gone.
    if (row.locked) Deno.mkdirSync(attachmentsDir(stateDir), { recursive: true, mode: 0o700 });
    using _lock = row.locked ? await lockWithin(lockPath(stateDir), this.#lockMs) : undefined;
    if (this.#stopped) return;
    for (const fault of row.check(this.#node())) {
      if (this.#mendable(fault)) await this.#mend(fault, row);
    }
  }

  #mendable({ mend, object }: Fault): boolean {
    return mend !== undefined && this.#repairs.mayMend(object);
  }

  async #mend({ object, text, fresh, mend }: Fault, row: Row) {
    const { log, mended } = this.#options;
    try {
      await mend!();
      this.#progress = true;
      if (fresh) log.info({ mended: object }, `${text}; mended`);
      else {
        log.warn({ event: "Mended", mended: object }, `${text}; mended`);
        mended(row.name);
        this.#repairs.mended(object);
      }
    } catch (error) {
      log.debug({ err: error, broken: object }, "cannot be mended");
      this.#repairs.failed(object, (error as Error).message);
    }
  }

  #keep({ name, graceMs = 0 }: Row, faults: readonly Fault[]) {
    const before = this.#standing.get(name);
    const now = performance.now();
    this.#standing.set(
      name,
      new Map(faults.map((fault): [string, Standing] => {
        const { since = now, reported = false } = before?.get(fault.object) ?? {};
        const why = this.#repairs.failure(fault.object);
        const text = why === undefined ? fault.text : `${fault.text} (mending failed: ${why})`;
        return [fault.object, { fault: { ...fault, text }, since, graceMs, reported }];
      })),
    );
    for (const [object, { reported }] of before ?? []) {
      if (reported && !this.#standing.get(name)!.has(object)) {
        const text = `${object} is as it should be again`;
        this.#options.log.info({ event: "ObjectGood" }, text);
      }
    }
  }

  /** Logs each fault once, with an Event. */
  #report() {
    const { log, changed } = this.#options;
    for (const row of this.#standing.values()) {
      for (const standing of row.values()) {
        if (standing.reported || !isLasting(standing)) continue;
        standing.reported = true;
        const { object, text, next, event = "ObjectBroken" } = standing.fault;
        log.error({ event, broken: object }, `${text}; ${next}`);
      }
    }
    const contested = this.#repairs.contested().map(([object]) => object).join(", ");
    if (contested !== this.#contested && contested !== "") {
      const text =
        `another program changes ${contested} again and again; it is mended every 10 s only`;
      log.error({ event: "Contested" }, text);
    }
    this.#contested = contested;
    changed();
  }

  #node(): NodeState {
    const { dataPlane, nl, config: { stateDir, attach }, known, installHostlb } = this.#options;
    const records = this.#records.read();
    known.plan(records);
    return {
      bpffs: dataPlane.bpffs,
      stateDir,
      nl,
      links: readOnce(nl),
      dataPlane,
      attach,
      records,
      objects: known.objects,
      agent: {
        missingPins: () => this.#pins.look(),
        restorePins: () => this.#pins.restore(),
        formerRecords: this.#former,
        installHostlb: () => {
          // Pins may have gone since their row was checked, hostlb's among them.
          this.#pins.restore();
          installHostlb();
          this.#pins.retake();
        },
      },
    };
  }
}

/** Milliseconds that a row may be unreadable: devices come and go while they are read. */
const UNCHECKED_MS = 2500;

function isLasting({ since, graceMs }: Standing): boolean {
  return performance.now() - since >= graceMs;
}
