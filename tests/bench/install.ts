/** How long `pcnk install` takes: on a machine that has the reference plugins and nothing else of a network, and again. */
import { Sandbox } from "../support/sandbox.ts";
import { TestMachine } from "../netns/install/machine.ts";
import type { Context, Measure } from "./measure.ts";
import { pcnk } from "./subject.ts";

/**
 * Limitation: the machine has no systemd (a network and a mount namespace), so the time that systemctl takes to start the
 * service is not in it.
 */
export const install: Measure = {
  name: "install",
  about: "pcnk install on a machine that has no network of pods yet, and again",
  async run({ runs, signal, progress }: Context) {
    const first: number[] = [], again: number[] = [];
    for (let round = 0; round < runs; round++) {
      signal.throwIfAborted();
      progress(`${round + 1}/${runs}`);
      using sandbox = new Sandbox();
      await using machine = await TestMachine.start(sandbox);
      first.push(timeInstall(machine, /^installed/m));
      again.push(timeInstall(machine, /nothing to do/));
    }
    return { values: { first, again } };
  },
};

/** Seconds. @throws {Error} when it says something else than expected */
function timeInstall(machine: TestMachine, expected: RegExp): number {
  const start = performance.now();
  const settings = ["--node-name", "node1", "--set", "manifests=/etc/pcnk/cluster"];
  const { code, stdout, stderr } = machine.run([pcnk(), "install", ...settings]);
  const took = performance.now() - start;
  if (code !== 0 || !expected.test(stdout)) throw new Error(`pcnk install: ${stderr}${stdout}`);
  return took / 1000;
}
