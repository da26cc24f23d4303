/**
 * The files that the build embeds: eBPF objects, libbpf, what `pcnk version` tells.
 *
 * Inside the executable they lie beside the bundle; from source they are where `deno task build` puts them.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const embedded = join(import.meta.dirname ?? "", "artifacts");
const built = join(import.meta.dirname ?? "", "../../dist/artifacts");

/**
 * The bytes of an artefact, e.g. `lbrp.bpf.o`.
 *
 * @throws Error when it is not there: from source, before the first `deno task build`.
 */
export function readArtifact(name: string): Uint8Array {
  for (const folder of [embedded, built]) {
    const path = join(folder, name);
    if (existsSync(path)) return readFileSync(path);
  }
  throw new Error(`${name} has not been built; run: deno task build`);
}
