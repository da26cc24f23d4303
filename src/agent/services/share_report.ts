/**
 * Names the pods that want more than their share of what all use, as Events and log lines: each pod and kind of share once
 * in ten minutes, so that a flood does not flood these too.
 */
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import { EXCESS, type Excess, readExcess } from "../../bpf/shares.ts";
import type { Log } from "../log.ts";
import { type Clock, systemClock } from "../runner.ts";

interface ShareReportOptions {
  maps: Pick<DataPlaneMaps, "shares" | "endpoints">;
  log: Pick<Log, "warn" | "error">;
  /** A source as people know it, such as `pod default/web`; undefined: by its address only. */
  nameOf: (address: string) => string | undefined;
  clock?: Clock;
}

/** Milliseconds between two looks at the counts, and between two reports of the same. */
const LOOK_MS = 5000, REPEAT_MS = 600_000;

export class ShareReport {
  readonly #options: ShareReportOptions;
  readonly #clock: Clock;
  /** By source and kind. */
  #seen = new Map<string, { times: bigint; reportedAt: number }>();
  #timer: unknown;

  constructor(options: ShareReportOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** What was counted before is not reported. */
  start(): void {
    this.#each(() => {});
    this.#next();
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer);
  }

  #next(): void {
    this.#timer = this.#clock.setTimeout(() => {
      this.look();
      this.#next();
    }, LOOK_MS);
  }

  /** Reports what has grown. */
  look(): void {
    try {
      this.#forget();
      this.#each((excess) => this.#report(excess));
    } catch (error) {
      this.#options.log.error({ err: error }, "cannot read who wants more than its share");
    }
  }

  #each(report: (excess: Excess) => void): void {
    const found = readExcess(this.#options.maps);
    const now = this.#clock.now(), before = this.#seen;
    this.#seen = new Map(); // without those that are gone
    for (const excess of found) {
      const key = `${excess.address} ${excess.kind}`;
      const seen = before.get(key) ?? { times: 0n, reportedAt: -Infinity };
      const grown = excess.times > seen.times;
      seen.times = excess.times;
      this.#seen.set(key, seen);
      if (!grown || now - seen.reportedAt < REPEAT_MS) continue;
      report(excess);
      seen.reportedAt = now;
    }
  }

  /** Another pod may get the address of one that is gone. */
  #forget(): void {
    const { shares, endpoints } = this.#options.maps;
    const gone = shares.keys().filter(({ addr }) =>
      addr !== "0.0.0.0" && endpoints.get({ addr }) === undefined
    );
    if (gone.length > 0) shares.deleteBatch(gone);
  }

  /** Without numbers: the same again is the same Event. */
  #report({ address, kind }: Excess): void {
    const name = address === undefined ? undefined : this.#options.nameOf(address);
    const who = address === undefined
      ? "addresses outside this node"
      : name === undefined
      ? address
      : `${name} (${address})`;
    this.#options.log.warn(
      { event: "ShareExceeded" },
      `${who}: ${EXCESS[kind]}, which are replaced or refused; others keep theirs ` +
        "(pcnk status has the numbers, docs/how-it-works.md the shares)",
    );
  }
}
