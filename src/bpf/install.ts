/**
 * Installs lbrp and k8sdispatcher on a node, or upgrades them in place. Maps and attachments survive: new programs take the pinned maps over
 * and atomically take the place of the old ones in every link and filter, so that no packet goes untreated. A map whose
 * configured capacity changed is made anew and its entries are carried over (migrate.ts).
 */
import { closeFd } from "../linux/libc.ts";
import { isBpffs, mountBpffs } from "../linux/mount.ts";
import { RtNetlink } from "../linux/rtnetlink.ts";
import { readArtifact } from "./artifacts.ts";
import { replaceAll } from "./attach.ts";
import { checkLayout, parseBtf } from "./btf.ts";
import { type DataPlane, openDataPlane } from "./dataplane.ts";
import { type MapName, maps, structs } from "./layout.ts";
import { Migration } from "./migrate.ts";
import { type LoadedObject, loadObject, type LoadOptions } from "./object.ts";
import {
  listPins,
  makePinDirectories,
  mapPin,
  NEW_SUFFIX,
  PIN_DIRECTORIES,
  programPin,
  removePin,
  replacePin,
} from "./pins.ts";
import { mapInfo, tryObjGet } from "./syscall.ts";

/** How to install. */
export interface InstallOptions {
  /** The node's directory; a bpffs is mounted there unless it is on one. */
  bpffs: string;
  /** Capacities of maps; one that is not named keeps the capacity it has, or gets the object's. */
  mapSizes?: Readonly<Partial<Record<MapName, number>>>;
  /** A connection in the node's network namespace; by default one in the caller's. */
  nl?: RtNetlink;
  /** An object instead of lbrp.bpf.o and k8sdispatcher.bpf.o. */
  object?: Uint8Array<ArrayBuffer>;
  /** Gets what is worth telling: a map that changed its capacity, programs replaced. */
  log?: (text: string) => void;
}

/** The first one brings all the maps. */
const OBJECTS = ["lbrp.bpf.o", "k8sdispatcher.bpf.o"] as const;

interface NamedObject {
  name: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Installs or upgrades the data plane and opens it.
 * @throws {LoadError} with the verifier's log
 * @throws {LayoutError} when the object's structs differ from layout.ts
 * @throws {MapMismatchError} when a pinned map has another type or other sizes of keys or values
 * @throws {MigrationError} when entries do not fit into a map that is to become smaller
 */
export function installDataPlane(options: InstallOptions): DataPlane {
  const { bpffs, log } = options;
  const objects: NamedObject[] = options.object
    ? [{ name: OBJECTS[0], bytes: options.object }]
    : OBJECTS.map((name) => ({ name, bytes: readArtifact(name) }));
  for (const { bytes } of objects) checkLayout(parseBtf(bytes), structs);
  prepareDirectory(bpffs);
  const { maxEntries, resized } = planSizes(bpffs, options.mapSizes ?? {});
  using stack = new DisposableStack();
  const nl = options.nl ?? stack.use(RtNetlink.open());
  const loaded = loadObjects(objects, {
    pinDir: `${bpffs}/map`,
    maxEntries,
    fresh: new Set(resized),
    log,
  }).map((object) => stack.use(object));
  activate(bpffs, nl, loaded, resized, log);
  return openDataPlane(bpffs);
}

/** Loads the first object with maps that are pinned, the others with the first one's. All or none. */
function loadObjects(
  objects: readonly NamedObject[],
  options: LoadOptions & { pinDir: string },
): LoadedObject[] {
  const present = new Set(listPins(options.pinDir));
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
    for (const name of listPins(options.pinDir)) {
      if (!present.has(name)) removePin(`${options.pinDir}/${name}`);
    }
    throw error;
  }
}

/** Makes the directory; /sys/fs/bpf itself is not mounted in every container. */
function prepareDirectory(bpffs: string): void {
  const system = "/sys/fs/bpf";
  if (bpffs.startsWith(`${system}/`) && !isBpffs(system)) mountBpffs(system);
  Deno.mkdirSync(bpffs, { recursive: true, mode: 0o700 });
  if (!isBpffs(bpffs)) {
    // A mount hides what is there: a slip of the pen must not take /etc away.
    if (listPins(bpffs).length > 0) {
      throw new Error(`bpffs ${bpffs}: is a directory with files in it`);
    }
    mountBpffs(bpffs);
  }
  checkOwner(bpffs);
  makePinDirectories(bpffs);
  for (const part of PIN_DIRECTORIES) checkOwner(`${bpffs}/${part}`);
  for (const part of ["map", "prog"]) { // of an install that was killed halfway
    for (const name of listPins(`${bpffs}/${part}`)) {
      if (name.endsWith(NEW_SUFFIX)) removePin(`${bpffs}/${part}/${name}`);
    }
  }
}

/**
 * Who may write to a directory can put programs and maps of his own in the place of pcnk's, for root to load. In one that
 * is sticky he can only add to it.
 */
function checkOwner(path: string): void {
  const { uid, mode } = Deno.statSync(path);
  if (uid !== 0) {
    throw new Error(
      `bpffs ${path}: belongs to user ${uid}; look at what is in it, then: chown root:root ${path}`,
    );
  }
  const sticky = (mode! & 0o1000) !== 0;
  if (mode! & 0o022 && !sticky) {
    const shown = (mode! & 0o777).toString(8);
    throw new Error(
      `bpffs ${path}: others than root may write to it (mode ${shown}); look at what is in it, then: chmod 700 ${path}`,
    );
  }
}

/** The capacity for every map that has one given or pinned, and which maps are pinned with another one. */
function planSizes(
  bpffs: string,
  wanted: Readonly<Partial<Record<MapName, number>>>,
): { maxEntries: Record<string, number>; resized: MapName[] } {
  const maxEntries: Record<string, number> = { ...wanted };
  const resized: MapName[] = [];
  for (const name of Object.keys(maps) as MapName[]) {
    const fd = tryObjGet(mapPin(bpffs, name));
    if (fd === undefined) continue;
    try {
      const pinned = mapInfo(fd).maxEntries;
      maxEntries[name] ??= pinned;
      if (maxEntries[name] !== pinned) resized.push(name);
    } finally {
      closeFd(fd);
    }
  }
  return { maxEntries, resized };
}

/**
 * The order matters. Maps change places first, then the pins of programs: a CNI call that opens them in between attaches
 * an old program, which the replacement then finds. Entries that old programs wrote meanwhile are carried over last.
 */
function activate(
  bpffs: string,
  nl: RtNetlink,
  [first, ...others]: readonly LoadedObject[],
  resized: readonly MapName[],
  log?: (text: string) => void,
): void {
  const programs = new Map([...first!.programs, ...others.flatMap((each) => [...each.programs])]);
  using stack = new DisposableStack();
  const migrations = resized.map((name) =>
    stack.adopt(
      new Migration(mapPin(bpffs, name), first!.maps.get(name)!, maps[name]),
      (migration) => migration.close(),
    )
  );
  for (const migration of migrations) migration.copy();
  for (const migration of migrations) {
    migration.switchPin();
    log?.(`map ${migration.name}: capacity ${migration.from} is now ${migration.to}`);
  }
  for (const [name, fd] of programs) replacePin(programPin(bpffs, name), fd);
  const replaced = replaceAll({ bpffs, nl, programs });
  if (replaced > 0) log?.(`programs replaced in ${replaced} attachments`);
  for (const migration of migrations) migration.finish();
}
