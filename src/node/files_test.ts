import { equal, throws } from "node:assert/strict";
import "../../tests/support/libraries.ts";
import { isThere, readIfThere } from "./files.ts";
import { TempFolder } from "../../tests/support/folder.ts";

Deno.test("readIfThere() reads whole files of any length; isThere() knows when there is none", () => {
  using folder = new TempFolder();
  const dir = folder.path;
  equal(readIfThere(`${dir}/none`), undefined);
  equal(readIfThere(`${dir}/none/none`), undefined);
  for (const length of [0, 1, 4095, 4096, 4097, 100_000]) {
    const text = "ü".repeat(length);
    Deno.writeTextFileSync(`${dir}/file`, text);
    equal(readIfThere(`${dir}/file`), text);
  }
  throws(() => readIfThere(dir), { code: "EISDIR" });
  Deno.symlinkSync(`${dir}/file`, `${dir}/link`);
  throws(() => readIfThere(`${dir}/link`), { code: "ELOOP" });
  equal(isThere(`${dir}/none`), false);
  equal(isThere(`${dir}/none/none`), false);
  for (const name of ["file", "link", ""]) equal(isThere(`${dir}/${name}`), true);
  Deno.removeSync(`${dir}/file`);
  equal(isThere(`${dir}/link`), true, "a broken link");
});
