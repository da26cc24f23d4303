import { deepEqual } from "node:assert/strict";
import { RtNetlink } from "../linux/rtnetlink.ts";
import * as needs from "../../tests/support/needs.ts";
import { csumTold } from "./csum_told.ts";

Deno.test({
  name: "csumTold() tries it out of this network namespace, and says the same again",
  ignore: !needs.root(),
  fn() {
    const place = () => {
      using nl = RtNetlink.open();
      return [Deno.readLinkSync("/proc/thread-self/ns/net"), nl.listClsact().includes(1)];
    };
    const before = place();
    deepEqual(csumTold(), csumTold());
    deepEqual(place(), before);
  },
});
