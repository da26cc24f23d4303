/**
 * The map `names`: names of Service ports and nodes by their ids, so that `pcnk get` shows names also when no agent runs.
 * No program reads it, so a failure is logged and stops nothing.
 */
import type { DataPlaneMaps } from "../../bpf/dataplane.ts";
import { type Name, NAME_KIND, type NameKey } from "../../bpf/layout.ts";
import { parseIpv4 } from "../../net/ipv4.ts";
import type { Change } from "../../model/state.ts";
import { syncMap } from "./sync.ts";
import type { Log } from "../log.ts";

/** Names of one kind, by id. */
export class Names {
  /** What the map holds, as far as this process wrote it. */
  #known = new Map<number, string>();
  readonly #map: DataPlaneMaps["names"];
  readonly #kind: number;
  readonly #log: Log;

  /** @param kind of NAME_KIND */
  constructor(
    map: DataPlaneMaps["names"],
    kind: number,
    log: Log,
  ) {
    this.#map = map;
    this.#kind = kind;
    this.#log = log;
  }

  /** Adds names, or changes them. */
  add(names: Iterable<readonly [id: number, text: string]>): void {
    const added = [...names].filter(([id, text]) => this.#known.get(id) !== text);
    this.#attempt(() => {
      this.#map.setBatch(added.map(([id, text]) => [{ kind: this.#kind, id }, { text }] as const));
      for (const [id, text] of added) this.#known.set(id, text);
    });
  }

  remove(id: number): void {
    this.#attempt(() => {
      this.#map.delete({ kind: this.#kind, id });
      this.#known.delete(id);
    });
  }

  /** Brings the map to exactly these names of the kind. */
  replace(names: ReadonlyMap<number, string>): void {
    this.#attempt(() => {
      const kind = this.#kind, map = this.#map;
      const added: [NameKey, Name][] = [];
      const own = {
        entries: () => map.entries().filter(([key]) => key.kind === kind),
        set: (key: NameKey, text: Name) => void added.push([key, text]),
        delete: map.delete.bind(map),
      };
      syncMap(own, [...names].map(([id, text]) => [{ kind, id }, { text }] as const));
      map.setBatch(added); // at the start tens of thousands
      this.#known = new Map(names);
    });
  }

  #attempt(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#known.clear();
      this.#log.debug({ err: error }, "names are not in the kernel; pcnk get shows numbers");
    }
  }
}

/** Those of Service ports, by the ids that sessions and entries of services have. */
export function servicePortNames(map: DataPlaneMaps["names"], log: Log): Names {
  return new Names(map, NAME_KIND.SERVICE_PORT, log);
}

/** Those of nodes, by their address in host order; follows Node objects. */
export class NodeNames {
  readonly #names: Names;
  readonly #ids = new Map<string, number>();
  #started = false;

  constructor(map: DataPlaneMaps["names"], log: Log) {
    this.#names = new Names(map, NAME_KIND.NODE, log);
  }

  /** Call it when all nodes are known: other names of nodes are removed. */
  start(): void {
    this.#started = true;
    this.#names.replace(new Map([...this.#ids].map(([name, id]) => [id, name])));
  }

  changes(changes: readonly Change[]): void {
    const added = new Map<number, string>();
    for (const { type, object } of changes) {
      if (object.kind !== "Node") continue;
      const { name, internalIPs: [address] } = object;
      const old = this.#ids.get(name);
      const id = type === "delete" || address === undefined ? undefined : parseIpv4(address);
      if (id !== undefined) added.set(id, name);
      if (id === undefined) this.#ids.delete(name);
      else this.#ids.set(name, id);
      if (this.#started && old !== undefined && old !== id && !added.has(old)) {
        this.#names.remove(old);
      }
    }
    if (this.#started && added.size > 0) this.#names.add(added);
  }
}
