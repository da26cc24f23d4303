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
