/** What a terminal is shown, and what a pipe gets: colour, width, and neither where it does not belong. */
import assert from "node:assert/strict";
import * as needs from "../support/needs.ts";
import { pcnk } from "../support/pcnk.ts";
import { type AgentPlace, serviceYaml, test } from "./support/agent.ts";

const skip = !needs.file("/usr/bin/script");

// deno-lint-ignore no-control-regex -- the escape codes of a terminal
const ESCAPES = /\x1b\[\d+m/g;

async function run(place: AgentPlace, argv: string[], env: Record<string, string> = {}) {
  const { NO_COLOR: _, ...inherited } = Deno.env.toObject();
  const { stdout } = await new Deno.Command("nsenter", {
    args: [`--net=${place.netns}`, ...argv],
    clearEnv: true,
    env: {
      ...inherited,
      PCNK_BPFFS: place.bpffs,
      PCNK_STATE_DIR: place.stateDir,
      TERM: "xterm",
      ...env,
    },
    stdin: "null",
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout).replaceAll("\r\n", "\n");
}

/** At a terminal of so many columns. */
function shown(place: AgentPlace, columns: number, command: string, env?: Record<string, string>) {
  const words = pcnk.map((word) => `'${word}'`).join(" ");
  const shell = `stty cols ${columns}; ${words} ${command}`;
  return run(place, ["script", "-qec", shell, "/dev/null"], env);
}

test("a terminal gets colour and lines that fit, a pipe and NO_COLOR plain text", async (place) => {
  place.write("web.yaml", serviceYaml("web", "10.96.0.1", []));
  await place.start();
  for (const columns of [60, 120]) {
    const text = await shown(place, columns, "status");
    assert.ok(text.includes("\x1b[31mbad\x1b[0m"), text);
    const plain = text.replaceAll(ESCAPES, "");
    const longest = Math.max(...plain.split("\n").map((line) => line.length));
    assert.ok(longest <= columns, `${longest} columns of ${columns}:\n${plain}`);
    assert.equal(/\n {21}→ pcnk describe service default\/web/.test(plain), true, plain);
  }
  const colourless = await shown(place, 200, "status", { NO_COLOR: "1" });
  assert.doesNotMatch(colourless, ESCAPES);
  assert.doesNotMatch(await shown(place, 200, "status", { TERM: "dumb" }), ESCAPES);
  const piped = await run(place, [...pcnk, "status"]);
  assert.doesNotMatch(piped, ESCAPES);
  assert.match(
    piped,
    /^uplink .* bad .*: no NodePorts, no other nodes, nothing outside for pods$/m,
  );
  const table = await run(place, [...pcnk, "get", "services"]);
  assert.doesNotMatch(table, ESCAPES);
  const narrow = await shown(place, 40, "get services");
  assert.ok(narrow.startsWith("\x1b[1mNAMESPACE\x1b[0m "), narrow);
  assert.equal(narrow.replaceAll(ESCAPES, ""), table, "a row is a line, however narrow it is");
}, skip);
