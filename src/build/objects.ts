/** eBPF objects out of bpf/, compiled by clang when a source or a header changed. */
import { mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { build, root, run, sources } from "./steps.ts";

/** Where the build puts what the executable carries. */
export const artifacts = "dist/artifacts";

/** UAPI headers only, and no CO-RE: the objects run on any kernel from 5.10 on. */
const FLAGS = ["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3"];

const programs = sources("bpf").filter((path) => path.endsWith(".bpf.c")).flatMap((source) => {
  const object = join(artifacts, basename(source, ".c") + ".o");
  if (basename(source).startsWith("hostlb")) return [{ source, object, flags: [] }];
  // Once more for the time of a conversion of sessions (bpf/lib/session_converting.h).
  const converting = object.replace(".bpf.o", "_converting.bpf.o");
  return [{ source, object, flags: [] }, { source, object: converting, flags: ["-DCONVERTING"] }];
});

/** The objects of all programs, relative to the root. */
export const objects = programs.map(({ object }) => object);

/** Compiles every program. */
export async function buildObjects(): Promise<void> {
  for (const { source, object, flags } of programs) await compile(source, object, ...flags);
}

/** Compiles one file of bpf/ to `object`, with flags beside the common ones. Paths are relative to the root. */
export async function compile(source: string, object: string, ...flags: string[]): Promise<void> {
  const args = [...FLAGS, ...flags];
  await build({
    name: basename(object),
    inputs: [source, ...sources("bpf/lib")],
    values: [run("clang", ["--version"]), ...args],
    outputs: [object],
    run: () => {
      const include = `/usr/include/${run("gcc", ["-print-multiarch"])}`;
      mkdirSync(join(root, artifacts), { recursive: true });
      run("clang", [...args, "-I", "bpf", "-I", include, "-c", source, "-o", object]);
      // Debug sections weigh most of the object and nothing reads them; BTF stays.
      run("llvm-strip", ["-g", object]);
    },
  });
}
