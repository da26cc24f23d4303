import assert from "node:assert/strict";

/** Nice values of a process's threads: field 19 of proc_pid_stat(5), the 17th behind the name. */
const script = `
import { lowerPriority } from "${new URL("nice.ts", import.meta.url)}";
lowerPriority();
const values = [...Deno.readDirSync("/proc/self/task")].map(({ name }) =>
  Deno.readTextFileSync("/proc/self/task/" + name + "/stat").split(") ")[1].split(" ")[16]);
console.log(JSON.stringify([...new Set(values)]));
`;

Deno.test("lowerPriority() makes every thread of the process nice", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(script));
  await writer.close();
  const { stdout } = await child.output();
  assert.deepEqual(JSON.parse(new TextDecoder().decode(stdout)), ["19"]);
});
