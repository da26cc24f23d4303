/**
 * Release 0.1.0 as far as it lies in the kernel: its objects (testdata/0.1.0, as its build made them), loaded and pinned as
 * its installer did it, without versions of schemas.
 */
import { brotliDecompressSync } from "node:zlib";
import { DataPlane } from "../../src/bpf/dataplane.ts";
import type { InstallOptions } from "../../src/bpf/install.ts";
import { loadObject } from "../../src/bpf/object.ts";
import { makePinDirectories, mapPin, programPin, replacePin } from "../../src/bpf/pins.ts";
import { schemaOf } from "../../src/bpf/schema.ts";

/** An object of release 0.1.0, e.g. `lbrp.bpf.o`. */
export function formerObject(name: string): Uint8Array<ArrayBuffer> {
  const file = new URL(`testdata/0.1.0/${name}.br`, import.meta.url);
  return new Uint8Array(brotliDecompressSync(Deno.readFileSync(file)));
}

/** Installs what release 0.1.0 would have on a bpffs where nothing is pinned. */
export function installFormer(
  { bpffs, mapSizes = {} }: Pick<InstallOptions, "bpffs" | "mapSizes">,
): DataPlane {
  makePinDirectories(bpffs);
  using lbrp = loadObject(formerObject("lbrp.bpf.o"), { maxEntries: mapSizes });
  using dispatcher = loadObject(formerObject("k8sdispatcher.bpf.o"), { share: lbrp.maps });
  for (const [name, fd] of lbrp.maps) {
    if (schemaOf(name)) replacePin(mapPin(bpffs, name), fd);
  }
  for (const [name, fd] of [...lbrp.programs, ...dispatcher.programs]) {
    replacePin(programPin(bpffs, name), fd);
  }
  return new DataPlane(bpffs);
}
