/**
 * Do calls between functions (BPF_PSEUDO_CALL) and tail calls go together in one program? Asked of the machine's kernel:
 * the entry point calls a function and then goes on in another program, through an array whose empty slot it passes by.
 *
 *   calls.ts compile FOLDER     on the build machine: makes calls.bpf.o and nested.bpf.o
 *   calls.ts run FOLDER         in the virtual machine: loads and runs them; what came of each as JSON
 */
import { u32 } from "../../src/bpf/codec.ts";
import { BpfMap } from "../../src/bpf/map.ts";
import { LoadError, loadObject } from "../../src/bpf/object.ts";
import { testRun } from "../../src/bpf/testrun.ts";
import { dupFd } from "../../src/linux/libc.ts";
import { compile } from "../support/clang.ts";

/** The tail call stands in the entry point itself, or (NESTED) in a function that it calls. */
const SOURCE = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} families SEC(".maps");

static __attribute__((noinline)) int weigh(struct __sk_buff *skb)
{
	skb->mark += skb->len;
	return skb->mark & 1;
}

static __attribute__((noinline)) int hand_over(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &families, 0);
	return weigh(skb);
}

SEC("tc") int entry(struct __sk_buff *skb)
{
	weigh(skb);
#ifdef NESTED
	hand_over(skb);
#else
	bpf_tail_call(skb, &families, 0);
#endif
	return 2;
}

SEC("tc") int family(struct __sk_buff *skb)
{
	weigh(skb);
	skb->mark += 9 * skb->len;
	return 7;
}

char _license[] SEC("license") = "GPL";
`;

/** "works", or why not: `direct` has the tail call in the entry point, `nested` in a function that it calls. */
export interface Calls {
  direct: string;
  nested: string;
}

const LENGTH = 64;

function attempt(bytes: Uint8Array<ArrayBuffer>, nested: boolean): string {
  try {
    using object = loadObject(bytes);
    using families = BpfMap.fromFd(dupFd(object.maps.get("families")!), u32, u32);
    const run = () => testRun(object.program("entry"), new Uint8Array(LENGTH));
    const empty = run();
    families.set(0, object.program("family"));
    const full = run();
    // A weighing adds the length to the mark, the family's program ten times as much. A function that
    // tail-calls returns to its caller when the other program ends.
    const seen = [empty.verdict, empty.mark / LENGTH, full.verdict, full.mark / LENGTH].join();
    const wanted = nested ? "2,2,2,11" : "2,1,7,11";
    return seen === wanted ? "works" : `verdicts and marks ${seen}, expected ${wanted}`;
  } catch (error) {
    if (!(error instanceof LoadError)) throw error;
    return `refused: ${
      error.log.split("\n").find((line) => /tail_calls/.test(line)) ?? error.message
    }`;
  }
}

if (import.meta.main) {
  const [what, folder] = Deno.args;
  if (what === "compile") {
    Deno.mkdirSync(folder!, { recursive: true });
    Deno.writeFileSync(`${folder}/calls.bpf.o`, compile(SOURCE));
    Deno.writeFileSync(`${folder}/nested.bpf.o`, compile(`#define NESTED\n${SOURCE}`));
  } else {
    const calls: Calls = {
      direct: attempt(Deno.readFileSync(`${folder}/calls.bpf.o`), false),
      nested: attempt(Deno.readFileSync(`${folder}/nested.bpf.o`), true),
    };
    console.log(JSON.stringify(calls));
  }
}
