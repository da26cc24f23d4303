/**
 * Files that the build makes and the executable carries: libpcnk_bpf.so and the eBPF objects. In the executable they lie
 * beside the bundle, the large ones compressed (every megabyte in it costs each CNI call two milliseconds); in a checkout in
 * dist/artifacts, as they are.
 */
import { brotliDecompressSync } from "node:zlib";

const PLACES = [`${import.meta.dirname}/artifacts`, `${import.meta.dirname}/../../dist/artifacts`];

/**
 * The bytes of an artifact, e.g. `lbrp.bpf.o`.
 * @throws {Deno.errors.NotFound} when it was not built
 */
export function readArtifact(name: string): Uint8Array<ArrayBuffer> {
  for (const place of PLACES) {
    const plain = readIfThere(`${place}/${name}`);
    if (plain) return plain;
    const compressed = readIfThere(`${place}/${name}.br`);
    if (compressed) return new Uint8Array(brotliDecompressSync(compressed));
  }
  throw new Deno.errors.NotFound(`${name} is not built; run: deno task build`);
}

function readIfThere(path: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** What the build writes about itself into build.json (src/build/build.ts). */
export interface Build {
  version: string;
  /** Full git commit hash; ends in `-dirty` when the work tree had changes. */
  commit: string;
  /** Debian's version of the libbpf that is linked in. */
  libbpf: string;
  /** SHA-256 of the runtime that the program was compiled with (denort), hexadecimal, or that Deno fetched its own. */
  runtime: string;
  /** SHA-256 of each embedded eBPF object, hexadecimal, by file name. */
  objects: Record<string, string>;
}

/** @throws {Deno.errors.NotFound} from source, before the first `deno task build` */
export function readBuild(): Build {
  return JSON.parse(new TextDecoder().decode(readArtifact("build.json")));
}
