/**
 * What is known of one kind of objects, and what of that has changed since it was last asked. Events and lists are treated
 * alike: each says how an object looks now, and is compared with what was known; so an event that comes twice, late
 * or not at all does no harm that the next list does not mend.
 */
import type { ClusterObject } from "../../model/objects.ts";
import type { Change } from "../../model/state.ts";
import { DecodeError, type Fields, fields, objectName, text } from "../reader.ts";
import { same } from "../same.ts";
import type { Resource } from "./resources.ts";

interface StoreProblem {
  /** `Service default/web`. */
  object: string;
  reason: string;
}

export class ObjectStore {
  /** By title. */
  readonly #known = new Map<string, ClusterObject>();
  /** How objects looked before the changes that were not taken yet; by title. */
  readonly #before = new Map<string, ClusterObject | undefined>();
  /** Objects that cannot be read, and why; by title. */
  readonly #bad = new Map<string, string>();
  #problems: StoreProblem[] = [];
  /** Titles that the list under way has held so far. */
  #seen: Set<string> | undefined;

  /** An object that was never read may account for anything the kernel holds. */
  get complete(): boolean {
    for (const title of this.#bad.keys()) if (!this.#known.has(title)) return false;
    return true;
  }

  get inOrder(): boolean {
    return this.#bad.size === 0;
  }

  get size(): number {
    return this.#known.size;
  }

  /** A list starts, from its first page. */
  listStarts() {
    this.#seen = new Set();
  }

  /** The list's last page was put: what it did not hold is gone. */
  listEnds() {
    const seen = this.#seen;
    this.#seen = undefined;
    if (seen === undefined) return;
    for (const title of [...this.#known.keys(), ...this.#bad.keys()]) {
      if (!seen.has(title)) this.#forget(title);
    }
  }

  /**
   * An object looks like this now. One that cannot be read stays as it was.
   * @throws {DecodeError} when it does not even have a name
   */
  put(resource: Resource, item: Fields) {
    const title = titleOf(resource, item);
    this.#seen?.add(title);
    let object: ClusterObject;
    try {
      object = resource.decode(item, []);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      if (this.#bad.get(title) === error.message) return;
      this.#bad.set(title, error.message);
      this.#problems.push({ object: title, reason: error.message });
      return;
    }
    this.#bad.delete(title);
    this.#set(title, object);
  }

  /** @throws {DecodeError} when it has no name */
  remove(resource: Resource, item: Fields) {
    this.#forget(titleOf(resource, item));
  }

  /** Net changes and new problems since the last call. */
  take(): { changes: Change[]; problems: StoreProblem[] } {
    const changes: Change[] = [];
    for (const [title, before] of this.#before) {
      const now = this.#known.get(title);
      if (now !== undefined) {
        if (!same(before, now)) changes.push({ type: "upsert", object: now });
      } else if (before !== undefined) changes.push({ type: "delete", object: before });
    }
    this.#before.clear();
    const problems = this.#problems;
    this.#problems = [];
    return { changes, problems };
  }

  #forget(title: string) {
    this.#bad.delete(title);
    this.#set(title, undefined);
  }

  #set(title: string, object: ClusterObject | undefined) {
    const old = this.#known.get(title);
    if (old === object || (old !== undefined && same(old, object))) return;
    if (!this.#before.has(title)) this.#before.set(title, old);
    if (object === undefined) this.#known.delete(title);
    else this.#known.set(title, object);
  }
}

function titleOf({ kind }: Resource, item: Fields): string {
  const metadata = fields(item.metadata, ["metadata"]);
  const name = objectName(metadata.name, ["metadata", "name"]);
  if (kind === "Node") return `${kind} ${name}`;
  return `${kind} ${text(metadata.namespace, ["metadata", "namespace"]) ?? "default"}/${name}`;
}
