/** What tests of sources share. */
import assert from "node:assert/strict";
import { type ClusterObject, objectTitle } from "../model/objects.ts";
import type { Change } from "../model/state.ts";
import { formatProblem } from "./manifests.ts";
import type { SourceListener } from "./source.ts";

/** Collects what a source reports, and lets a test wait for it. */
export class Recorder implements SourceListener {
  readonly log: string[] = [];
  readonly objects = new Map<string, ClusterObject>();
  batches = 0;
  #waiting: (() => void)[] = [];

  changes(changes: Change[]) {
    this.batches++;
    for (const { type, object } of changes) {
      this.log.push(`${type} ${objectTitle(object)}`);
      if (type === "upsert") this.objects.set(objectTitle(object), object);
      else this.objects.delete(objectTitle(object));
    }
    this.wake();
  }
  problem(problem: Parameters<SourceListener["problem"]>[0]) {
    this.log.push(`problem ${formatProblem(problem)}`);
    this.wake();
  }
  recovered(file: string) {
    this.log.push(`recovered ${file}`);
    this.wake();
  }
  ignored(file: string, type: string) {
    this.log.push(`ignored ${file} ${type}`);
  }

  /** Looks again at what is awaited. */
  wake() {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Resolves when `found()`; rejects with what was reported when that takes too long. */
  async until(found: () => boolean, patienceMs = 5000) {
    let late = false;
    const timer = setTimeout(() => (late = true, this.wake()), patienceMs);
    while (!found() && !late) await new Promise<void>((wake) => this.#waiting.push(wake));
    clearTimeout(timer);
    assert.ok(found(), `not reported: ${found}\n${this.log.join("\n")}`);
  }
}
