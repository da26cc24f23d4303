/**
 * Packets through lbrp's programs (BPF_PROG_TEST_RUN): what goes in, the verdict, what comes out, what is counted. The
 * cases are in cases/; the last test has a second implementation check every packet that came out of any of them.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import * as needs from "../support/needs.ts";
import { pcap } from "./support/pcap.ts";
import { cases, pods } from "./support/scene.ts";
import { World } from "./support/world.ts";
import "./cases/translate.ts";
import "./cases/pass.ts";
import "./cases/fragments.ts";
import "./cases/icmp.ts";
import "./cases/refuse.ts";
import "./cases/select.ts";
import "./cases/sessions.ts";

const PYTHON = "/usr/bin/python3";
const available = needs.root();
// Opened here, or the first test would be blamed for loading a library.
const world = available ? new World() : undefined;

for (const { name, run } of cases) {
  Deno.test({
    name,
    ignore: !available,
    fn() {
      assert(world);
      world.clear(name);
      pods(world);
      run(world);
    },
  });
}

Deno.test({
  name: "lbrp: scapy finds length and checksums of every packet right",
  ignore: !available || !needs.file("/usr/lib/python3/dist-packages/scapy"),
  async fn() {
    assert(world);
    const { outputs } = world;
    const directory = await Deno.makeTempDir({ prefix: "pcnk-t-" });
    try {
      const file = join(directory, "outputs.pcap");
      await Deno.writeFile(file, pcap(outputs.map(({ packet }) => packet)));
      const args = [join(import.meta.dirname!, "support/verify.py"), file];
      const { stdout } = await new Deno.Command(PYTHON, { args, stderr: "inherit" }).output();
      const lines = new TextDecoder().decode(stdout).trim().split("\n");
      assert.equal(lines.pop(), `${outputs.length}`, "scapy did not read all packets");
      const wrong = lines.map((line) => {
        const index = Number(/^packet (\d+)/.exec(line)?.[1]) - 1;
        return `${line}\n    of: ${outputs[index]?.test}`;
      });
      assert.deepEqual(wrong, []);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
});

Deno.test({
  name: "lbrp: nothing of the tests stays in the kernel",
  ignore: !available,
  fn() {
    world?.close();
  },
});
