import { equal, throws } from "node:assert/strict";
import "../../tests/support/libraries.ts";
import { readIfThere } from "./files.ts";

Deno.test("readIfThere() reads whole files of any length, and knows when there is none", () => {
  const dir = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
  try {
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
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
