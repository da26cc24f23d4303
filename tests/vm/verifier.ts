/**
 * Runs in the virtual machine: has its kernel verify every object of the build, and writes what the verifier counted as
 * JSON to standard output. With libbpf's own log buffers, which the product has no use for.
 *
 *   verifier.ts FOLDER [converting]     FOLDER holds libpcnk_bpf.so and the objects; converting: those that are attached
 *                                       while a table of an older version is converted, else the others
 */
import { cstring } from "../../src/linux/libc.ts";

const SYMBOLS = {
  bpf_object__open_file: { parameters: ["buffer", "pointer"], result: "pointer" },
  bpf_object__load: { parameters: ["pointer"], result: "i32" },
  bpf_object__close: { parameters: ["pointer"], result: "void" },
  bpf_object__next_program: { parameters: ["pointer", "pointer"], result: "pointer" },
  bpf_program__name: { parameters: ["pointer"], result: "pointer" },
  bpf_program__set_log_buf: { parameters: ["pointer", "buffer", "usize"], result: "i32" },
  bpf_program__set_log_level: { parameters: ["pointer", "u32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** BPF_LOG_STATS (include/linux/bpf_verifier.h): the counts, without the way there. */
const LOG_STATS = 4;

/** One program's verification. */
export interface Verified {
  object: string;
  program: string;
  /** Instructions that the verifier walked through, of the 1,000,000 that it allows. */
  instructions: number;
  /** States that it kept at a time, at most. */
  peakStates: number;
}

/** Verifies all programs of an object. @throws {Error} with the verifier's log when one is refused */
function verify(lib: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"], path: string): Verified[] {
  const object = lib.bpf_object__open_file(cstring(path), null);
  if (object === null) throw new Error(`${path}: libbpf does not open it`);
  const logs: [program: string, log: Uint8Array<ArrayBuffer>][] = [];
  for (let at = lib.bpf_object__next_program(object, null); at !== null;) {
    const log = new Uint8Array(64 << 10);
    logs.push([Deno.UnsafePointerView.getCString(lib.bpf_program__name(at)!), log]);
    lib.bpf_program__set_log_buf(at, log, BigInt(log.length));
    lib.bpf_program__set_log_level(at, LOG_STATS);
    at = lib.bpf_object__next_program(object, at);
  }
  const error = lib.bpf_object__load(object);
  lib.bpf_object__close(object);
  return logs.map(([program, bytes]) => {
    const log = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
    const [, instructions, peakStates] = /processed (\d+) insns .*peak_states (\d+)/.exec(log) ??
      [];
    if (error < 0 || !instructions) throw new Error(`${path}: ${program}: ${error}\n${log}`);
    const name = path.slice(path.lastIndexOf("/") + 1);
    return { object: name, program, instructions: +instructions, peakStates: +peakStates! };
  });
}

if (import.meta.main) {
  const folder = Deno.args[0]!;
  const converting = Deno.args[1] === "converting";
  const lib = Deno.dlopen(`${folder}/libpcnk_bpf.so`, SYMBOLS).symbols;
  const objects = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name.endsWith(".bpf.o") && name.includes("_converting") === converting)
    .sort();
  const found = objects.flatMap((name) => {
    const started = performance.now();
    const list = verify(lib, `${folder}/${name}`);
    console.error(`${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
    return list;
  });
  console.log(JSON.stringify(found, null, 2));
}
