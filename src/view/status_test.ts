import { deepEqual, match } from "node:assert/strict";
import { kernelFindings } from "./status.ts";

Deno.test("kernelFindings() says where the checksums that pods leave to a device are not checked", () => {
  for (const release of ["5.11.0", "6.1.0-18-amd64", "6.12.90+deb13-amd64", "6.17.9"]) {
    const [finding] = kernelFindings(release);
    deepEqual([finding!.part, finding!.health], ["data plane", "note"]);
    match(finding!.text, /^checksums .* are not checked on Linux /);
    match(finding!.text, new RegExp(RegExp.escape(release)));
  }
  for (const release of ["5.10.0-30-amd64", "6.18.0", "7.0.1"]) {
    deepEqual(kernelFindings(release), []);
  }
});
