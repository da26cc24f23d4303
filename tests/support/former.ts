/**
 * Former layouts as far as they lie in the kernel: objects as their build made them, loaded and pinned as its installer did
 * it. Release 0.1.0, without versions of schemas; and the build before sessions 3, whose entries have no window.
 */
import { brotliDecompressSync } from "node:zlib";
import { DataPlane } from "../../src/bpf/dataplane.ts";
import type { InstallOptions } from "../../src/bpf/install.ts";
import { MapVersions } from "../../src/bpf/map_versions.ts";
import { loadObject } from "../../src/bpf/object.ts";
import { makePinDirectories, mapPin, programPin, replacePin } from "../../src/bpf/pins.ts";
import { schemaOf } from "../../src/bpf/schema.ts";
import { mapInfo } from "../../src/bpf/syscall.ts";

/** Folders of testdata, and the versions of maps that are not 1. */
const VERSIONS = {
  "0.1.0": {},
  "sessions-2": { sessions: 2, session_limits: 2, config: 2, vteps: 2, fragments: 2 },
} as const satisfies Record<string, Record<string, number>>;

type Former = keyof typeof VERSIONS;
type Options = Pick<InstallOptions, "bpffs" | "mapSizes">;

/** An object of release 0.1.0, e.g. `lbrp.bpf.o`, or of another build. */
export function formerObject(name: string, former: Former = "0.1.0"): Uint8Array<ArrayBuffer> {
  const file = new URL(`testdata/${former}/${name}.br`, import.meta.url);
  return new Uint8Array(brotliDecompressSync(Deno.readFileSync(file)));
}

function install(former: Former, { bpffs, mapSizes = {} }: Options): DataPlane {
  makePinDirectories(bpffs);
  using lbrp = loadObject(formerObject("lbrp.bpf.o", former), { maxEntries: mapSizes });
  const dispatcherObject = formerObject("k8sdispatcher.bpf.o", former);
  using dispatcher = loadObject(dispatcherObject, { share: lbrp.maps });
  const versions: Record<string, number> = VERSIONS[former];
  using pinned = former === "0.1.0" ? undefined : MapVersions.make(bpffs);
  for (const [name, fd] of lbrp.maps) {
    if (!schemaOf(name)) continue;
    pinned?.set(mapInfo(fd).id, versions[name] ?? 1);
    replacePin(mapPin(bpffs, name), fd);
  }
  for (const [name, fd] of [...lbrp.programs, ...dispatcher.programs]) {
    replacePin(programPin(bpffs, name), fd);
  }
  return new DataPlane(bpffs);
}

/** Installs what release 0.1.0 would have on a bpffs where nothing is pinned. */
export function installFormer(options: Options): DataPlane {
  return install("0.1.0", options);
}

/** The same of the build before sessions 3. */
export function installSessions2(options: Options): DataPlane {
  return install("sessions-2", options);
}
