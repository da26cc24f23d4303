import { deepEqual, match } from "node:assert/strict";
import { kernelFindings } from "./status.ts";

Deno.test("kernelFindings() says where checksums left to a device are not checked", () => {
  const [finding] = kernelFindings(false);
  deepEqual([finding!.part, finding!.health], ["data plane", "note"]);
  match(finding!.text, /^checksums left to a device are not checked on this kernel /);
  match(finding!.next!, /CAP_NET_RAW/);
  deepEqual(kernelFindings(true), []);
});
