/**
 * Files that the build makes and the executable carries: libpcnk_bpf.so and the eBPF objects. In the executable they lie
 * beside the bundle, in a checkout in dist/artifacts.
 */

const PLACES = [`${import.meta.dirname}/artifacts`, `${import.meta.dirname}/../../dist/artifacts`];

/**
 * The bytes of an artifact, e.g. `lbrp.bpf.o`.
 * @throws {Deno.errors.NotFound} when it was not built
 */
export function readArtifact(name: string): Uint8Array<ArrayBuffer> {
  for (const place of PLACES) {
    try {
      return Deno.readFileSync(`${place}/${name}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Deno.errors.NotFound(`${name} is not built; run: deno task build`);
}

/** What the build writes about itself into build.json (src/build/build.ts). */
export interface Build {
  version: string;
  /** Full git commit hash; ends in `-dirty` when the work tree had changes. */
  commit: string;
  /** Debian's version of the libbpf that is linked in. */
  libbpf: string;
  /** SHA-256 of each embedded eBPF object, hexadecimal, by file name. */
  objects: Record<string, string>;
}

/** @throws {Deno.errors.NotFound} from source, before the first `deno task build` */
export function readBuild(): Build {
  return JSON.parse(new TextDecoder().decode(readArtifact("build.json")));
}
