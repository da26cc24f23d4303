/** The executable that is measured: dist/pcnk, or another build to compare with (`--pcnk FILE`). */
import { join, resolve } from "node:path";
import { root } from "../../src/build/steps.ts";

let path = join(root, "dist/pcnk");

/** Where it is. */
export function pcnk(): string {
  return path;
}

/** Measures another one from now on. */
export function measureExecutable(file: string): void {
  path = resolve(file);
}
