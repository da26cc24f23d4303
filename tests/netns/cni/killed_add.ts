/**
 * An ADD that is killed before one of its steps, as by kill -9: `deno run -A killed_add.ts STEP`, the configuration on
 * standard input, the rest in CNI_*. Ends by SIGKILL; with a code only when it never came to that step.
 */
import { add } from "../../../cni/add.ts";
import { parseInput, readConfig, readText } from "../../../cni/config.ts";
import { readContainer } from "../../../cni/env.ts";
import { Log } from "../../../cni/log.ts";

const [step] = Deno.args;
const config = readConfig(parseInput(readText((buffer) => Deno.stdin.readSync(buffer))));
const container = readContainer((name) => Deno.env.get(name), "ADD");
add(config, container, new Log("error", {}), (next) => {
  if (next === step) Deno.kill(Deno.pid, "SIGKILL");
});
