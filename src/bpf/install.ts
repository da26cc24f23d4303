/**
 * Installs lbrp and k8sdispatcher on a node, or upgrades them in place. Maps and attachments survive: new programs use the
 * pinned maps and replace the old programs atomically in every link and filter, so that every packet meets one of them. A map
 * whose layout or capacity changed is created again and its entries are carried over (map_plan.ts, migrate.ts, conversion.ts).
 */
import { isBpffs } from "../linux/mount.ts";
import { checkOwner } from "../linux/owner.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { readArtifact } from "./artifacts.ts";
import { replaceAll } from "./attach.ts";
import { endConversion, finishCommit, SessionConversion } from "./conversion.ts";
import { DataPlane, openDataPlane } from "./dataplane.ts";
import { forgetHeaderless, HEADERLESS_OBJECT, servesHeaderless } from "./headerless.ts";
import { type MapName, maps, queues } from "./layout.ts";
import {
  describeRenewal,
  forgetFormer,
  isRebuilt,
  type MapPlan,
  planMaps,
  recordVersions,
  Renewal,
} from "./map_plan.ts";
import { refuseNewer } from "./map_versions.ts";
import { bpffsMountPoint, mountNodeBpffs } from "./node_bpffs.ts";
import { type LoadedObject, loadObject, type LoadOptions } from "./object.ts";
import {
  dataPlaneReady,
  HEADERLESS_PROGRAMS,
  listPins,
  makePinDirectories,
  NEW_SUFFIX,
  PIN_DIRECTORIES,
  programPin,
  removePin,
  replacePin,
} from "./pins.ts";
import { recoverPins } from "./recover.ts";

/** The steps of an activation, in their order. Those marked are of a conversion of sessions. */
export type InstallStep =
  | "copy"
  | "pin maps"
  | "pin transitional programs" // *
  | "attach transitional programs" // *
  | "fill" // *
  | "commit" // *
  | "forget the former table" // *
  | "pin programs"
  | "attach programs"
  | "finish";

/** How to install. */
export interface InstallOptions {
  /** The node's directory; a bpffs is mounted there unless it is on one. */
  bpffs: string;
  /** Capacities of maps; one that is not named keeps the capacity it has, or gets the object's. */
  mapSizes?: Readonly<Partial<Record<MapName, number>>>;
  /** A connection in the node's network namespace; by default one in the caller's. */
  nl?: RtNetlink;
  /** An object instead of those of OBJECTS. */
  object?: Uint8Array<ArrayBuffer>;
  /** Gets a line for each map that changed its capacity or schema, and one for programs that were replaced. */
  log?: (text: string) => void;
  /** Called before each step; tests end the process there. */
  before?: (step: InstallStep) => void;
}

/** The first one brings all the maps. */
const OBJECTS = ["lbrp.bpf.o", "k8sdispatcher.bpf.o"] as const;

interface NamedObject {
  name: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Installs or upgrades the data plane and opens it.
 * @throws as `prepareDataPlane`
 * @throws {MigrationError} when entries do not fit into a map that is to become smaller
 */
export function installDataPlane(options: InstallOptions): DataPlane {
  using installation = prepareDataPlane(options);
  installation.activate();
  return openDataPlane(options.bpffs);
}

/**
 * Loads the data plane of this version. What serves on the node goes on as it is until the installation is activated.
 * @throws {SchemaError} when a newer pcnk made a pinned map; before anything is changed
 * @throws {LoadError} with the verifier's log, and when memory does not suffice
 * @throws {MapMismatchError} when a pinned map has another type, or other sizes than its schema says
 * @throws {MigrationError} when a pinned map is of a schema that is not read any more
 */
export function prepareDataPlane(options: InstallOptions): Installation {
  const { bpffs, log } = options;
  prepareDirectory(bpffs);
  using stack = new DisposableStack();
  const nl = options.nl ?? stack.use(RtNetlink.open());
  for (const pin of recoverPins(bpffs, nl)) {
    log?.(`${pin} was gone and is pinned again: what is attached uses it`);
  }
  const names = [...OBJECTS, ...servesHeaderless(bpffs, nl) ? [HEADERLESS_OBJECT] : []];
  const objects: NamedObject[] = options.object
    ? [{ name: OBJECTS[0], bytes: options.object }]
    : names.map((name) => ({ name, bytes: readArtifact(name) }));
  const plan = planMaps(bpffs, Object.keys({ ...maps, ...queues }), options.mapSizes ?? {});
  const { maxEntries, fresh } = plan;
  const loaded = loadObjects(objects, { pinDir: `${bpffs}/map`, maxEntries, fresh, log });
  for (const object of loaded) stack.use(object);
  return new Installation({ ...options, nl }, plan, loaded, stack);
}

/** Loads the first object with maps that are pinned, the others with the first one's. All or none. */
function loadObjects(objects: readonly NamedObject[], options: LoadOptions): LoadedObject[] {
  const loaded: LoadedObject[] = [];
  try {
    for (const { name, bytes } of objects) {
      const [first] = loaded;
      const how = first ? { share: first.maps, log: options.log } : options;
      loaded.push(loadObject(bytes, { ...how, name }));
    }
    return loaded;
  } catch (error) {
    for (const object of loaded) object.close();
    throw error;
  }
}

/** A data plane that is loaded, and serves once it is activated. */
export class Installation {
  /** The maps of this version, also before they are pinned. Its user closes it. */
  readonly dataPlane: DataPlane;
  /** Whether the node's old programs serve with a map that the agent must fill anew: fill it first, then activate. */
  readonly waits: boolean;
  readonly #options: InstallOptions & { nl: RtNetlink };
  readonly #plan: MapPlan;
  readonly #programs: ReadonlyMap<string, number>;
  readonly #renewal: Renewal;
  readonly #conversion: SessionConversion | undefined;
  readonly #resources: DisposableStack;
  #active = false;

  /** @param resources what belongs to the installation from here on, also when this throws */
  constructor(
    options: InstallOptions & { nl: RtNetlink },
    plan: MapPlan,
    loaded: readonly LoadedObject[],
    resources: DisposableStack,
  ) {
    const { bpffs } = options;
    const all = loaded[0]!.maps;
    const fresh = new Map([...all].filter(([name]) => plan.fresh.has(name)));
    const sessions = options.object ? undefined : plan.former.get("sessions");
    this.#options = options;
    this.#plan = plan;
    this.#programs = new Map(loaded.flatMap(({ programs }) => [...programs]));
    recordVersions(bpffs, fresh);
    this.#conversion = sessions &&
      resources.use(new SessionConversion(bpffs, sessions, all, this.#headerless));
    const copied = new Map([...fresh].filter(([name]) => !sessions || name !== "sessions"));
    this.#renewal = resources.use(new Renewal(bpffs, copied, plan.former, maps));
    this.#resources = resources.move();
    this.waits = dataPlaneReady(bpffs) && [...plan.former.values()].some(isRebuilt);
    this.dataPlane = new DataPlane(bpffs, fresh);
  }

  /**
   * Puts the new maps and programs in the places of the old ones; a second call does nothing. When it throws, or the process
   * ends on the way, what is attached serves on, and the next installation completes it.
   *
   * The order matters. Maps change places first, then the pins of programs: a CNI call that opens them in between attaches
   * an old program, which the replacement then finds. Entries that old programs wrote meanwhile are carried over last.
   * @throws {MigrationError} when entries do not fit into a map that is to become smaller; before anything is changed
   */
  activate(): void {
    if (this.#active) return;
    const { bpffs, log, before } = this.#options;
    before?.("copy");
    this.#renewal.copy();
    this.#conversion?.restore();
    before?.("pin maps");
    finishCommit(bpffs);
    this.#renewal.pin();
    if (this.#conversion) this.#convert(this.#conversion);
    if (!this.#headerless) forgetHeaderless(bpffs);
    const replaced = this.#replace(this.#programs, ["pin programs", "attach programs"]);
    before?.("finish");
    this.#renewal.finish();
    endConversion(bpffs);
    forgetFormer(bpffs);
    this.dataPlane.reopen();
    this.#active = true;
    for (const old of this.#plan.former.values()) log?.(describeRenewal(old, this.#plan));
    if (replaced > 0) log?.(`programs replaced in ${replaced} attachments`);
  }

  get #headerless(): boolean {
    return this.#programs.has(HEADERLESS_PROGRAMS[0]);
  }

  #convert(conversion: SessionConversion): void {
    const { before } = this.#options;
    conversion.pin();
    const steps = ["pin transitional programs", "attach transitional programs"] as const;
    this.#replace(conversion.programs, steps);
    before?.("fill");
    conversion.fill();
    before?.("commit");
    conversion.commit();
    before?.("forget the former table");
    conversion.finish();
  }

  #replace(
    programs: ReadonlyMap<string, number>,
    steps: readonly [InstallStep, InstallStep],
  ): number {
    const { bpffs, nl, before } = this.#options;
    before?.(steps[0]);
    for (const [name, fd] of programs) replacePin(programPin(bpffs, name), fd);
    before?.(steps[1]);
    return replaceAll({ bpffs, nl, programs });
  }

  close(): void {
    this.#resources.dispose();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Mounts a bpffs where there is none, and makes the directories of pins; /sys/fs/bpf itself is not mounted in every container.
 * @throws {Error} when it hides files, or others than root may change it
 */
export function ensureBpffs(bpffs: string): void {
  const point = bpffsMountPoint(bpffs);
  if (point !== bpffs && !isBpffs(point)) mountNodeBpffs(point);
  Deno.mkdirSync(bpffs, { recursive: true, mode: 0o700 });
  if (!isBpffs(bpffs)) mountNodeBpffs(bpffs);
  checkOwner("bpffs", bpffs);
  for (const part of PIN_DIRECTORIES) {
    if (listPins(bpffs).includes(part)) checkOwner("bpffs", `${bpffs}/${part}`);
  }
  makePinDirectories(bpffs);
}

function prepareDirectory(bpffs: string): void {
  ensureBpffs(bpffs);
  refuseNewer(bpffs);
  for (const part of ["map", "prog"]) { // left by an install that was killed
    for (const name of listPins(`${bpffs}/${part}`)) {
      if (name.endsWith(NEW_SUFFIX)) removePin(`${bpffs}/${part}/${name}`);
    }
  }
}
