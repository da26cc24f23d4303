/** A program is replaced while packets flow: each of them meets one version, none meets none. */
import assert from "node:assert/strict";
import { attach, type Hook, replaceAll } from "../../src/bpf/attach.ts";
import { u32, u64 } from "../../src/bpf/codec.ts";
import { loadObject } from "../../src/bpf/object.ts";
import { BpfMap } from "../../src/bpf/map.ts";
import { dupFd } from "../../src/linux/libc.ts";
import { withNetns } from "../../src/linux/netns.ts";
import { CLANG, compile } from "../support/clang.ts";
import { startFlood } from "../support/flood.ts";
import * as needs from "../support/needs.ts";
import { Sandbox } from "../support/sandbox.ts";

const ready = needs.root() && needs.file(CLANG);
const tcx = needs.kernel(6, 6);

/** Two versions of a program. Each counts UDP packets to port 9 in a slot of its own. */
const SOURCE = `
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

static __always_inline int count(struct __sk_buff *skb, __u32 slot)
{
	unsigned char *data = (void *)(long)skb->data;
	__u64 *counter = bpf_map_lookup_elem(&seen, &slot);

	if ((void *)(data + 42) <= (void *)(long)skb->data_end && data[12] == 8 && data[23] == 17 &&
	    data[36] == 0 && data[37] == 9 && counter)
		__sync_fetch_and_add(counter, 1);
	return TC_ACT_OK;
}
SEC("tc") int version_a(struct __sk_buff *skb) { return count(skb, 0); }
SEC("tc") int version_b(struct __sk_buff *skb) { return count(skb, 1); }
char _license[] SEC("license") = "GPL";
`;

for (const mode of ["tcx", "clsact"] as const) {
  Deno.test({
    name: `replaceAll() by ${mode} lets no packet pass untreated`,
    ignore: !ready || (mode === "tcx" && !tcx),
    async fn() {
      using sandbox = new Sandbox();
      const [a, b] = [sandbox.netns(), sandbox.netns()];
      const [ifindex] = sandbox.veth(a, b);
      a.nl.addAddr({ ifindex, address: "10.0.0.1", prefixLength: 24 });
      a.nl.replaceNeigh({ ifindex, address: "10.0.0.2", mac: "02:00:00:00:00:02" });
      using object = loadObject(compile(SOURCE));
      using seen = BpfMap.fromFd(dupFd(object.maps.get("seen")!), u32, u64);
      // Egress, where a packet meets the program on the sender's own thread: no queue that could overflow comes first.
      const hook: Hook = { bpffs: sandbox.bpffs(), ifindex, direction: "egress", nl: a.nl };
      const versions = [object.program("version_a"), object.program("version_b")];
      const name = "version_a";
      withNetns(a.path, () => attach({ ...hook, programFd: versions[0]!, name, mode }));

      const flood = await startFlood(a.path, "10.0.0.2");
      let replacements = 0;
      const until = performance.now() + 300;
      while (performance.now() < until) {
        const programFd = versions[++replacements % 2]!;
        if (mode === "clsact") {
          assert.equal(replaceAll({ ...hook, programs: new Map([[name, programFd]]) }), 1);
        } else {
          withNetns(a.path, () => attach({ ...hook, programFd, name, mode }));
        }
      }
      const sent = await flood.stop();
      const [first, second] = [seen.get(0)!, seen.get(1)!];
      assert.ok(replacements > 20, `only ${replacements} replacements`);
      assert.ok(first > 0n && second > 0n, "both versions were met");
      assert.equal(first + second, BigInt(sent), `${replacements} replacements`);
    },
  });
}
