/** Completion at a terminal: a real bash, real TABs, names out of a real data plane. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import * as needs from "../support/needs.ts";
import { pcnk, runPcnk } from "../support/pcnk.ts";
import { serviceYaml, test } from "./support/agent.ts";

const skip = !needs.file("/usr/bin/script");

/** A bash at a terminal of its own. */
class Terminal implements AsyncDisposable {
  private readonly child: Deno.ChildProcess;
  private readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  private readonly reader: ReadableStreamDefaultReader<string>;
  private screen = "";

  constructor(netns: string, env: Record<string, string>) {
    this.child = new Deno.Command("nsenter", {
      args: [`--net=${netns}`, "script", "-qec", "bash --norc --noprofile -i", "/dev/null"],
      env: { TERM: "dumb", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.writer = this.child.stdin.getWriter();
    this.reader = this.child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Types, and waits until the screen, from here on, shows `wanted`. */
  async type(keys: string, wanted: RegExp): Promise<void> {
    this.screen = "";
    await this.writer.write(new TextEncoder().encode(keys));
    let late = false;
    const timer = setTimeout(() => (late = true, this.child.kill("SIGKILL")), 20_000);
    try {
      while (!wanted.test(this.screen)) {
        const { value, done } = await this.reader.read();
        assert.ok(!done && !late, `${JSON.stringify(keys)}: no ${wanted} in:\n${this.screen}`);
        this.screen += value;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Throws the line away. */
  async clear(): Promise<void> {
    await this.type("\x15echo cleared-$((6*7))\n", /cleared-42/);
  }

  async [Symbol.asyncDispose]() {
    try {
      this.child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.writer.abort().catch(() => {});
    await this.reader.cancel().catch(() => {});
    await this.child.status;
  }
}

test("bash completes pcnk's commands, options, kinds, and names from the kernel", async (place) => {
  place.write("web.yaml", serviceYaml("web-front", "10.96.0.1", ["10.1.0.1"]));
  await place.start();
  const bin = join(place.dir, "bin");
  Deno.mkdirSync(bin);
  const words = pcnk.map((word) => `'${word}'`).join(" ");
  Deno.writeTextFileSync(join(bin, "pcnk"), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  Deno.writeTextFileSync(join(place.dir, "admin.conf"), "");
  await using bash = new Terminal(place.netns, {
    PATH: `${bin}:${Deno.env.get("PATH")}`,
    PCNK_BPFFS: place.bpffs,
    PCNK_STATE_DIR: place.stateDir,
  });
  await bash.type("source <(pcnk completion bash); echo ready-$((6*7))\n", /ready-42/);
  const cases: [keys: string, wanted: RegExp][] = [
    ["pcnk stat\t", /pcnk status /],
    ["pcnk completion z\t", /completion zsh /],
    ["pcnk get servi\t", /get services /],
    ["pcnk get services --outp\t", /services --output /],
    ["pcnk get services -o js\t", /-o json /],
    ["pcnk get services --output=ya\t", /--output=yaml/],
    ["pcnk get backends def\t", /backends default\/web-front /],
    ["pcnk describe service d\t", /service default\/web-front /],
    ["pcnk get backends --service d\t", /--service default\/web-front /],
    ["pcnk log-level deb\t", /log-level debug /],
    ["pcnk node set node1 direct\t", /node1 directRouting=$/],
    ["pcnk help topo\t", /help topology /],
    [`pcnk agent --kubeconfig ${place.dir}/adm\t`, /admin\.conf /],
  ];
  for (const [keys, wanted] of cases) {
    await bash.type(keys, wanted);
    await bash.clear();
  }
}, skip);

for (
  const [shell, path] of [["bash", "/bin/bash"], ["zsh", "/bin/zsh"], ["fish", "/usr/bin/fish"]]
) {
  Deno.test({
    name: `pcnk completion ${shell} is a script that ${shell} can read`,
    ignore: !existsSync(path!), // zsh and fish are nothing that the build or a node needs
    async fn() {
      const { code, stdout } = await runPcnk("completion", shell!);
      assert.equal(code, 0);
      const file = Deno.makeTempFileSync();
      try {
        Deno.writeTextFileSync(file, stdout);
        const check = await new Deno.Command(path!, { args: ["-n", file] }).output();
        assert.equal(new TextDecoder().decode(check.stderr), "");
        assert.equal(check.code, 0);
      } finally {
        Deno.removeSync(file);
      }
    },
  });
}
