/**
 * The archive of compressed modules that src/cli/unpack.ts runs: a 32-bit big-endian length, the index as JSON of that
 * length, then the modules' text, each compressed by itself (Brotli) so that one can be read without the others.
 */
import { Buffer } from "node:buffer";
import { brotliCompressSync } from "node:zlib";
import * as esbuild from "esbuild";

/** By specifier, `./name.js`: where the module's text is, in bytes from the end of the index. */
export type Index = Record<string, { offset: number; size: number }>;

/** Packs ES modules that import each other as `./name.js`, without circles and without `await` at their top level. */
export async function pack(modules: ReadonlyMap<string, string>): Promise<Uint8Array> {
  const index: Index = {};
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, text] of modules) {
    const { code } = await esbuild.transform(text, {
      format: "cjs",
      minify: true,
      legalComments: "none",
      supported: { "dynamic-import": false }, // becomes a promise of require()
      footer: `//# sourceURL=${name}`,
    });
    const part = brotliCompressSync(code);
    index[`./${name}`] = { offset, size: part.length };
    parts.push(part);
    offset += part.length;
  }
  const head = new TextEncoder().encode(JSON.stringify(index));
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, head.length);
  return Buffer.concat([size, head, ...parts]);
}
