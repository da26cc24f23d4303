import { equal, throws } from "node:assert/strict";
import { formatMac, macBytes } from "./mac.ts";

Deno.test("formatMac() and macBytes() are each other's reverse", () => {
  equal(formatMac(macBytes("02:00:AB:cd:00:ff")), "02:00:ab:cd:00:ff");
  for (const text of ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "0g:00:00:00:00:00"]) {
    throws(() => macBytes(text), { name: "AddressError" }, text);
  }
});
