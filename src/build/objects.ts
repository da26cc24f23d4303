/** eBPF objects out of bpf/, compiled by clang when a source or a header changed. */
import { mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { build, root, run, sources } from "./steps.ts";

/** Where the build puts what the executable carries. */
export const artifacts = "dist/artifacts";

/** UAPI headers only, and no CO-RE: the objects run on any kernel from 5.10 on. */
const FLAGS = [
  "-O2",
  "-g",
  "-fdebug-compilation-dir=.",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-target",
  "bpf",
  "-mcpu=v3",
];

/** Each source, with the flags of its variants by what their names end in. */
const programs = sources("bpf").filter((path) => path.endsWith(".bpf.c")).flatMap((source) => {
  const name = basename(source, ".bpf.c");
  const object = (suffix: string, ...flags: string[]) => ({
    source,
    object: join(artifacts, `${name}${suffix}.bpf.o`),
    flags,
  });
  if (name === "hostlb") return [object("")];
  // Once more for the time of a conversion of sessions (bpf/lib/session_converting.h).
  const both = [object(""), object("_converting", "-DCONVERTING")];
  if (name !== "k8sdispatcher") return both;
  // And for devices without Ethernet header (bpf/lib/eth.h).
  return [...both, object("_l3", "-DL3"), object("_l3_converting", "-DL3", "-DCONVERTING")];
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
