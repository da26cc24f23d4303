/** Runs the packet tests that a file has imported, and has a second implementation check every packet that came out. */
import assert from "node:assert/strict";
import { join } from "node:path";
import * as needs from "../../support/needs.ts";
import { pcap } from "./pcap.ts";
import { cases, pods } from "./scene.ts";
import { type Load, World } from "./world.ts";

const PYTHON = "/usr/bin/python3";

/**
 * `name` is what is tested; `prepare` adds to the two pods that each test begins with, `load` brings other objects than
 * today's steady ones.
 */
export function runPacketTests(
  name: string,
  prepare: (w: World) => void = () => {},
  load?: Load,
): void {
  const available = needs.root();
  // Opened here, or the first test would be blamed for loading a library.
  const world = available ? new World({}, load) : undefined;

  for (const { name, run } of cases) {
    Deno.test({
      name,
      ignore: !available,
      async fn() {
        assert(world);
        world.clear(name);
        pods(world);
        prepare(world);
        await run(world);
      },
    });
  }

  Deno.test({
    name: `${name}: scapy finds length and checksums of every packet right`,
    ignore: !available || !needs.file("/usr/lib/python3/dist-packages/scapy"),
    async fn() {
      assert(world);
      const { outputs } = world;
      const directory = await Deno.makeTempDir({ prefix: "pcnk-t-" });
      try {
        const file = join(directory, "outputs.pcap");
        await Deno.writeFile(file, pcap(outputs.map(({ packet }) => packet)));
        const args = [join(import.meta.dirname!, "verify.py"), file];
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
    name: `${name}: nothing of the tests stays in the kernel`,
    ignore: !available,
    fn() {
      world?.close();
    },
  });
}
