import assert from "node:assert/strict";
import { root } from "../../tests/support/needs.ts";
import { endProcess, identify, isAlive, netnsKey, processesIn } from "./process.ts";

// libc's symbols stay open once they are used.
const options = { sanitizeResources: false };

/** A shell that says when it runs; with `before` done by then. */
function sleeper(script = "exec sleep 60", before = ":"): Deno.ChildProcess {
  const args = ["-c", `${before}; echo; ${script}`];
  return new Deno.Command("sh", { args, stdin: "null", stdout: "piped" }).spawn();
}

/** Its first output: the shell runs by now. */
async function running(child: Deno.ChildProcess): Promise<void> {
  const reader = child.stdout.getReader();
  await reader.read();
  reader.releaseLock();
}

Deno.test("endProcess() ends a process and waits for it", options, async () => {
  const child = sleeper();
  await running(child);
  const id = identify(child.pid)!;
  assert.equal(isAlive(id), true);
  assert.equal(await endProcess(id, 5000), "ended");
  assert.equal((await child.status).signal, "SIGTERM");
  await child.stdout.cancel();
  assert.equal(isAlive(id), false);
  assert.equal(await endProcess(id, 5000), "was gone");
});

Deno.test("endProcess() kills what does not listen to SIGTERM", options, async () => {
  const child = sleeper("exec sleep 60", 'trap "" TERM');
  await running(child);
  assert.equal(await endProcess(identify(child.pid)!, 50), "killed");
  await child.status;
  await child.stdout.cancel();
});

Deno.test("endProcess() leaves a process alone that has the pid of another", options, async () => {
  const child = sleeper();
  await running(child);
  const id = identify(child.pid)!;
  const earlier = { ...id, startTime: id.startTime - 1 };
  assert.equal(await endProcess(earlier, 5000), "was gone");
  assert.equal(isAlive(id), true);
  await endProcess(id, 0);
  await child.status;
  await child.stdout.cancel();
});

Deno.test("identify() does not take a zombie for a process", options, async () => {
  // The shell's child ends, and the shell turned `sleep` does not collect it.
  const child = sleeper("true & echo $!; exec sleep 60");
  const reader = child.stdout.getReader();
  let text = "";
  while (!/\d+\n/.test(text)) text += new TextDecoder().decode((await reader.read()).value);
  const pid = Number(text.trim());
  const deadline = performance.now() + 5000;
  while (identify(pid) && performance.now() < deadline) await new Promise((r) => setTimeout(r, 1));
  assert.equal(identify(pid), undefined);
  await endProcess(identify(child.pid)!, 0);
  await child.status;
  await reader.cancel();
});

Deno.test({
  name: "processesIn() finds those of a network namespace and never those of its own",
  ignore: !root(),
  ...options,
  fn: async () => {
    const args = ["--net", "sh", "-c", "echo; exec sleep 60"];
    const child = new Deno.Command("unshare", { args, stdin: "null", stdout: "piped" }).spawn();
    await running(child);
    const keys = new Set([netnsKey(`/proc/${child.pid}/ns/net`)!, netnsKey("/proc/self/ns/net")!]);
    assert.deepEqual(processesIn(keys).map(({ pid }) => pid), [child.pid]);
    await endProcess(identify(child.pid)!, 0);
    await child.status;
    await child.stdout.cancel();
  },
});

Deno.test("netnsKey() is undefined for what is not there", () => {
  assert.equal(netnsKey("/run/netns/pcnk-t-none"), undefined);
});
