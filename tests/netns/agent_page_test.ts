/** The page at the agent's own server: off unless it is wanted, and then the same as that of `pcnk ui`, behind the agent's token. */
import assert from "node:assert/strict";
import * as needs from "../support/needs.ts";
import { type AgentPlace, test } from "./support/agent.ts";

/** Status and body. */
async function curl(place: AgentPlace, ...args: string[]): Promise<[string, string]> {
  const { stdout } = await new Deno.Command("nsenter", {
    args: [`--net=${place.netns}`, "curl", "-s", "-m", "5", "-w", "\n%{http_code}", ...args],
    stdin: "null",
  }).output();
  const lines = new TextDecoder().decode(stdout).split("\n");
  return [lines.pop()!, lines.join("\n")];
}

const page = "http://127.0.0.1:9879/ui/";

test("the agent serves the page when the setting ui wants it, and not otherwise", async (place) => {
  {
    using nl = place.netlink();
    nl.setLink(nl.link("lo")!.index, { up: true });
  }
  const off = await place.start();
  assert.equal((await curl(place, page))[0], "404");
  assert.equal((await off.end("SIGTERM")).code, 0);

  await place.start("--ui", "true");
  assert.equal((await curl(place, page))[0], "401");
  const { token } = JSON.parse(Deno.readTextFileSync(`${place.stateDir}/agent.json`));
  const [entered] = await curl(place, `${page}?key=${token}`);
  assert.equal(entered, "303");
  const cookie = ["-H", `Cookie: pcnk_ui_9879=${token}`];
  const [found, html] = await curl(place, ...cookie, page);
  assert.deepEqual([found, /<script type="module" src="page.js">/.test(html)], ["200", true]);
  const [status, counters] = await curl(place, ...cookie, `${page}api/counters`);
  assert.equal(status, "200", counters);
  assert.ok(Array.isArray(JSON.parse(counters).counters));
  assert.equal((await curl(place, ...cookie, "-H", "Host: evil.example", page))[0], "403");
  assert.equal((await curl(place, ...cookie, "-X", "PUT", page))[0], "405");
  assert.equal((await curl(place, "http://127.0.0.1:9879/healthz"))[1].includes("ok"), true);
}, !needs.file("dist/artifacts/ui.html"));
