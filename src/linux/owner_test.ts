import assert from "node:assert/strict";
import { TempFolder } from "../../tests/support/folder.ts";
import { checkOwner } from "./owner.ts";

const root = Deno.uid() === 0;

Deno.test({
  name: "checkOwner() refuses what another user made, also a link to a directory of root",
  ignore: !root,
  fn() {
    using folder = new TempFolder();
    const [dir, link] = [`${folder.path}/dir`, `${folder.path}/link`];
    Deno.mkdirSync(dir, { mode: 0o755 });
    Deno.symlinkSync(dir, link);
    for (const path of [dir, link]) checkOwner("stateDir", path);
    const { success } = new Deno.Command("chown", { args: ["-h", "1234", link] }).outputSync();
    assert.ok(success);
    assert.throws(() => checkOwner("stateDir", link), /^Error: stateDir .*belongs to user 1234/);
    checkOwner("stateDir", dir);
    Deno.chownSync(dir, 1234, null);
    assert.throws(() => checkOwner("stateDir", dir), /belongs to user 1234/);
  },
});

Deno.test({
  name: "checkOwner() refuses what others may write to, unless they may only add",
  ignore: !root,
  fn() {
    using folder = new TempFolder();
    for (const mode of [0o777, 0o775, 0o757]) {
      Deno.chmodSync(folder.path, mode);
      assert.throws(() => checkOwner("bpffs", folder.path), /other users may write to it/);
    }
    for (const mode of [0o700, 0o755, 0o1777]) {
      Deno.chmodSync(folder.path, mode);
      checkOwner("bpffs", folder.path);
    }
  },
});
