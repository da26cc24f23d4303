import { deepEqual, equal } from "node:assert/strict";
import { LOG_LEVELS } from "./config.ts";
import { Log } from "./log.ts";

Deno.test("Log writes a JSON object a line, of its level and graver", () => {
  LOG_LEVELS.forEach((level, rank) => {
    const lines: string[] = [];
    const log = new Log(level, { verb: "ADD" }, (line) => void lines.push(line));
    for (const each of LOG_LEVELS) log[each](`a\n${each}`, { value: "\x1b[2J" });
    deepEqual(lines.map((line) => JSON.parse(line).level), LOG_LEVELS.slice(0, rank + 1));
    for (const line of lines) {
      equal(line.indexOf("\n"), line.length - 1);
      equal(line.includes("\x1b"), false);
      const { time, level, ...rest } = JSON.parse(line);
      equal(new Date(time).toISOString(), time);
      deepEqual(rest, { msg: `a\n${level}`, verb: "ADD", value: "\x1b[2J" });
    }
  });
});
