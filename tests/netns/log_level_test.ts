/** `pcnk log-level` and /debug/ of a real agent: changed at run time, by root alone. */
import assert from "node:assert/strict";
import { pcnk } from "../support/pcnk.ts";
import { type AgentPlace, serviceYaml, test } from "./support/agent.ts";

async function inside(place: AgentPlace, ...argv: string[]) {
  const { code, stdout, stderr } = await new Deno.Command("nsenter", {
    args: [`--net=${place.netns}`, ...argv],
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

const logLevel = (place: AgentPlace, ...args: string[]) =>
  inside(place, ...pcnk, "log-level", ...args, "--state-dir", place.stateDir);

const curl = (place: AgentPlace, ...args: string[]) =>
  inside(place, "curl", "-s", "-m", "3", "-w", "\n%{http_code}", ...args);

test("pcnk log-level changes what a running agent logs; others may not", async (place) => {
  const none = await logLevel(place);
  assert.equal(none.code, 1);
  assert.match(
    none.err,
    /^pcnk: no agent runs on this node, or it is not ready yet: nothing in /,
  );

  {
    using nl = place.netlink();
    nl.setLink(nl.link("lo")!.index, { up: true });
  }
  const agent = await place.start(); // at debug, so that the tests hear of its rounds
  assert.deepEqual(await logLevel(place), { code: 0, out: "debug\n", err: "" });
  const changed = await logLevel(place, "warn");
  assert.deepEqual(changed, { code: 0, out: "the agent logs from warn on\n", err: "" });
  agent.skip();
  const before = agent.lines.length;
  place.write("web.yaml", serviceYaml("web", "10.96.0.1", ["10.1.0.1"]));
  place.write("bad.yaml", serviceYaml("bad", "10.96.0.2", ["10.1.0.256"]));
  await agent.log(({ event }) => event === "SourceProblem");
  assert.equal((await logLevel(place, "debug")).code, 0);
  place.write("other.yaml", serviceYaml("other", "10.96.0.3", ["10.1.0.1"]));
  await agent.updated();
  const levels = agent.lines.slice(before).map(({ level }) => level);
  assert.deepEqual([levels[0], levels.lastIndexOf("warn") < levels.indexOf("debug")], [
    "warn",
    true,
  ]);

  const url = "http://127.0.0.1:9879/debug/log-level";
  const put = ["-X", "PUT", "-d", "silent"];
  assert.match((await curl(place, ...put, url)).out, /needs the token .*\n\n401$/s);
  assert.match((await curl(place, "-H", "Origin: http://a.example", url)).out, /403$/);
  assert.match((await curl(place, "-H", "Host: a.example", url)).out, /403$/);
  assert.equal((await logLevel(place)).out, "debug\n");

  const { out } = await curl(place, "http://127.0.0.1:9879/debug/state");
  const state = JSON.parse(out.replace(/\n200$/, ""));
  assert.deepEqual(state, {
    logLevel: "debug",
    source: { manifests: place.manifests },
    watches: [],
  });
  assert.equal(Deno.statSync(`${place.stateDir}/agent.json`).mode! & 0o777, 0o600);
});
