/** eBPF objects that a test makes itself, to see what happens to odd ones. */

/** UAPI headers of this machine's architecture. */
const INCLUDE = `/usr/include/${Deno.build.arch}-linux-gnu`;
const LIB = new URL("../../bpf/lib", import.meta.url).pathname;

/** Where `needs.file` looks. */
export const CLANG = "/usr/bin/clang";

/**
 * Compiles C to an eBPF object. `edit` changes the text of bpf/lib/types.h, which the source finds as "types.h" beside
 * "maps.h".
 */
export function compile(
  source: string,
  edit: (types: string) => string = (types) => types,
): Uint8Array<ArrayBuffer> {
  const folder = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
  try {
    Deno.writeTextFileSync(`${folder}/types.h`, edit(Deno.readTextFileSync(`${LIB}/types.h`)));
    Deno.copyFileSync(`${LIB}/maps.h`, `${folder}/maps.h`);
    Deno.writeTextFileSync(`${folder}/test.bpf.c`, source);
    const { success, stderr } = new Deno.Command(CLANG, {
      args: [
        ...["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-I", folder, "-I", LIB, "-I", INCLUDE],
        ...["-c", `${folder}/test.bpf.c`, "-o", `${folder}/test.bpf.o`],
      ],
    }).outputSync();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return Deno.readFileSync(`${folder}/test.bpf.o`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** Two programs with lbrp's names that use every map; `id` becomes the mark of what comes from a pod. */
export function twoPrograms(id: number): string {
  return `
#include "maps.h"
#define USE(map, type) do { type key; __builtin_memset(&key, 0, sizeof(key)); if (bpf_map_lookup_elem(&map, &key)) mark++; } while (0)
SEC("tc") int lbrp_from_pod(struct __sk_buff *skb)
{
	__u32 mark = ${id} << 8;
	__u32 zero = 0;
	struct counter *counter = bpf_map_lookup_elem(&counters, &zero);

	USE(services, struct service_key); USE(sessions, struct session_key);
	USE(endpoints, struct endpoint_key); USE(fragments, __u32);
	USE(backends, __u32); USE(config, __u32);
	if (counter)
		counter->packets++;
	skb->mark = mark;
	return 0;
}
SEC("tc") int lbrp_to_pod(struct __sk_buff *skb) { return 0; }
char _license[] SEC("license") = "Dual BSD/GPL";
`;
}
