import assert from "node:assert/strict";
import { join } from "node:path";
import { readAttachments } from "./attachments.ts";
import { closeFd } from "../linux/libc.ts";
import { LockedError, lockFile } from "./lock.ts";
import { attachment } from "./attachments_support.ts";
import { removeStateFile, writeStateFile } from "./state_files.ts";

closeFd(-1); // loads libc, which stays for all tests

function inDirectory(name: string, fn: (dir: string) => void) {
  Deno.test(name, () => {
    const dir = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
    try {
      fn(dir);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  });
}

inDirectory("lockFile() lets one in at a time and names who is in", (dir) => {
  const path = join(dir, "agent.lock");
  const lock = lockFile(path);
  assert.throws(() => lockFile(path), new LockedError(`${path} is locked by process ${Deno.pid}`));
  lock.close();
  lockFile(path).close();
});

inDirectory("writeStateFile() writes whole files for root only", (dir) => {
  writeStateFile(dir, "x.json", { a: 1 });
  writeStateFile(dir, "x.json", { a: 2 });
  assert.equal(Deno.readTextFileSync(join(dir, "x.json")), '{"a":2}\n');
  assert.equal(Deno.statSync(join(dir, "x.json")).mode! & 0o777, 0o600);
  assert.deepEqual([...Deno.readDirSync(dir)].length, 1);
  removeStateFile(dir, "x.json");
  removeStateFile(dir, "x.json");
});

inDirectory("readAttachments() passes over what is half written, damaged or none", (dir) => {
  assert.deepEqual(readAttachments(dir), []);
  const records = join(dir, "attachments");
  Deno.mkdirSync(records);
  const good = attachment({ hostIfindex: 7, hostIfname: "veth7" });
  Deno.writeTextFileSync(join(records, "c1@eth0.json"), JSON.stringify(good));
  Deno.writeTextFileSync(join(records, "c2@eth0.json"), '{"hostIfindex": 7');
  Deno.writeTextFileSync(join(records, "c3@eth0.json"), "null");
  Deno.writeTextFileSync(join(records, "c4@eth0.json"), '{"hostIfindex": "7"}');
  Deno.writeTextFileSync(join(records, ".c5@eth0.json"), JSON.stringify(good));
  Deno.mkdirSync(join(records, "c6@eth0.json"));
  assert.deepEqual(readAttachments(dir), [good]);
});
