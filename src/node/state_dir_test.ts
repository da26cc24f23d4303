import assert from "node:assert/strict";
import { join } from "node:path";
import { readAttachments } from "./attachments.ts";
import { closeFd } from "../linux/libc.ts";
import { LockedError, lockFile } from "./lock.ts";
import { attachment } from "./attachments_support.ts";
import { NewerRecordError } from "./schema.ts";
import {
  hasState,
  readState,
  recordSysctl,
  refuseNewerState,
  removeState,
  writeState,
} from "./state_files.ts";
import { TempFolder } from "../../tests/support/folder.ts";

closeFd(-1); // loads libc, which stays for all tests

function inDirectory(name: string, fn: (dir: string) => void) {
  Deno.test(name, () => {
    using folder = new TempFolder();
    const dir = folder.path;
    fn(dir);
  });
}

inDirectory("lockFile() lets one in at a time and names who is in", (dir) => {
  const path = join(dir, "agent.lock");
  const lock = lockFile(path);
  assert.throws(() => lockFile(path), new LockedError(`${path} is locked by process ${Deno.pid}`));
  lock.close();
  lockFile(path).close();
});

inDirectory("writeState() writes whole files for root only", (dir) => {
  const path = join(dir, "datapath.json");
  Deno.writeTextFileSync(join(dir, ".datapath.json.new"), "half of wh"); // of an agent that was killed
  writeState(dir, "datapath", { attach: "tcx", pid: 1 });
  writeState(dir, "datapath", { attach: "auto", pid: 2 });
  assert.equal(Deno.readTextFileSync(path), '{"attach":"auto","pid":2}\n');
  assert.equal(Deno.statSync(path).mode! & 0o777, 0o600);
  assert.deepEqual([...Deno.readDirSync(dir)].length, 1);
  removeState(dir, "datapath");
  removeState(dir, "datapath");
});

inDirectory("readState() reads what is whole and of the right shape", (dir) => {
  assert.equal(readState(dir, "vpc"), undefined);
  for (const text of ["", "null", "[]", '{"ports": 5}', '{"ports": "1-2"']) {
    Deno.writeTextFileSync(join(dir, "reserved-ports.json"), text);
    assert.equal(readState(dir, "reserved-ports"), undefined);
    assert.equal(hasState(dir, "reserved-ports"), true);
  }
  writeState(dir, "reserved-ports", { ports: "1-2" });
  assert.deepEqual(readState(dir, "reserved-ports"), { ports: "1-2" });
});

inDirectory("refuseNewerState() names the file that a newer pcnk wrote", (dir) => {
  writeState(dir, "reserved-ports", { ports: "1-2" });
  Deno.mkdirSync(join(dir, "attachments"));
  refuseNewerState(dir);
  for (const name of ["reserved-ports.json", "attachments/c1@eth0.json"]) {
    const path = join(dir, name);
    Deno.writeTextFileSync(path, '{"schema":9}');
    assert.throws(
      () => refuseNewerState(dir),
      (error: Error) =>
        error instanceof NewerRecordError && error.path === path && error.found === 9,
    );
    assert.equal(Deno.readTextFileSync(path), '{"schema":9}');
    Deno.removeSync(path);
  }
});

inDirectory("recordSysctl() keeps the value before the first change", (dir) => {
  recordSysctl(dir, "net/a", { before: "0", after: "1" });
  recordSysctl(dir, "net/b", { before: "0", after: "1" });
  recordSysctl(dir, "net/a", { before: "1", after: "2" });
  const [a, b] = [{ before: "0", after: "2" }, { before: "0", after: "1" }];
  assert.deepEqual(readState(dir, "sysctls"), { "net/a": a, "net/b": b });
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
