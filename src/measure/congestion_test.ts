import { deepEqual, match } from "node:assert/strict";
import { congestion } from "./congestion.ts";

Deno.test("congestion() asks for cubic where there is one, and says what it is otherwise", () => {
  deepEqual(congestion("reno bbr cubic\n").args, ["--congestion", "cubic"]);
  const { args, note } = congestion("reno bbr\n");
  deepEqual(args, []);
  match(note, /no cubic \(there is: reno bbr\)/);
  match(congestion("").note, /unknown/);
});
