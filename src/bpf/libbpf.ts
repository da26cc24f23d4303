/**
 * libbpf by FFI, for loading objects only (ELF, relocations, BTF); all else is bpf(2). The library is opened from a memory
 * file, so no file system has to allow execution.
 */
import { closeFd, cstring, lastErrno, SyscallError, trySyscall } from "../linux/libc.ts";
import { readArtifact } from "./artifacts.ts";

const SYMBOLS = {
  bpf_object__open_mem: { parameters: ["buffer", "usize", "buffer"], result: "pointer" },
  bpf_object__load: { parameters: ["pointer"], result: "i32" },
  bpf_object__close: { parameters: ["pointer"], result: "void" },
  bpf_object__next_map: { parameters: ["pointer", "pointer"], result: "pointer" },
  bpf_object__next_program: { parameters: ["pointer", "pointer"], result: "pointer" },
  bpf_map__name: { parameters: ["pointer"], result: "pointer" },
  bpf_map__fd: { parameters: ["pointer"], result: "i32" },
  bpf_map__type: { parameters: ["pointer"], result: "u32" },
  bpf_map__key_size: { parameters: ["pointer"], result: "u32" },
  bpf_map__value_size: { parameters: ["pointer"], result: "u32" },
  bpf_map__max_entries: { parameters: ["pointer"], result: "u32" },
  bpf_map__map_flags: { parameters: ["pointer"], result: "u32" },
  bpf_map__set_max_entries: { parameters: ["pointer", "u32"], result: "i32" },
  bpf_map__set_initial_value: { parameters: ["pointer", "buffer", "usize"], result: "i32" },
  bpf_map__is_internal: { parameters: ["pointer"], result: "bool" },
  bpf_map__reuse_fd: { parameters: ["pointer", "i32"], result: "i32" },
  bpf_program__name: { parameters: ["pointer"], result: "pointer" },
  bpf_program__fd: { parameters: ["pointer"], result: "i32" },
  pcnk_log_init: { parameters: [], result: "void" },
  pcnk_log_take: { parameters: ["buffer", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Functions of libbpf, and of the shim that collects its log. */
export type Libbpf = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let loaded: Libbpf | undefined;

/**
 * The library, opened once and kept: it has no state worth closing it for.
 * @throws {Deno.errors.NotFound} when libpcnk_bpf.so was not built
 */
export function libbpf(): Libbpf {
  if (loaded) return loaded;
  const fd = memoryFile("libpcnk_bpf.so");
  try {
    const path = `/proc/self/fd/${fd}`;
    Deno.writeFileSync(path, readArtifact("libpcnk_bpf.so"));
    loaded = Deno.dlopen(path, SYMBOLS).symbols;
  } finally {
    closeFd(fd);
  }
  loaded.pcnk_log_init();
  return loaded;
}

function memoryFile(name: string): number {
  const MFD_CLOEXEC = 1;
  const MFD_NOEXEC_SEAL = 8; // wanted by hosts with vm.memfd_noexec=2; unknown before Linux 6.3
  let fd = trySyscall("memfd_create", cstring(name), MFD_CLOEXEC | MFD_NOEXEC_SEAL);
  if (fd === -22) fd = trySyscall("memfd_create", cstring(name), MFD_CLOEXEC);
  if (fd < 0) throw new SyscallError("memfd_create", -fd, name);
  return fd;
}

/** libbpf's messages since the last call, the verifier's log included. */
export function takeLog(): string {
  const chunk = new Uint8Array(1 << 16);
  const decoder = new TextDecoder();
  let text = "";
  for (let length; (length = libbpf().pcnk_log_take(chunk, chunk.length)) > 0;) {
    text += decoder.decode(chunk.subarray(0, length), { stream: true });
  }
  return text;
}

/** A C string that libbpf owns. */
export function textAt(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}

export { lastErrno };
