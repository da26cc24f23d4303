import { deepEqual, equal } from "node:assert/strict";
import { parseDevices, Rates } from "./rate.ts";

Deno.test("Rates tells nothing at first, then what came by the time", () => {
  const rates = new Rates();
  const next = (at: number, packets: number) => rates.next(at, new Map([["a", packets]])).get("a");
  equal(next(1000, 10), null);
  equal(next(3000, 30), 10);
  equal(next(4000, 30), 0);
  equal(next(5000, 7), null); // counted anew: a device of the same name
  equal(next(5500, 12), 10);
  equal(next(65_500, 1012), null); // no snapshot for a minute: that is no current rate
});

Deno.test("Rates knows nothing of what was not there before", () => {
  const rates = new Rates();
  rates.next(0, new Map([["a", 1]]));
  deepEqual([...rates.next(1000, new Map([["a", 1], ["b", 5]]))], [["a", 0], ["b", null]]);
});

Deno.test("parseDevices() reads /proc/net/dev, names with colons too", () => {
  const text = `Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 100 2 0 0 0 0 0 0 100 3 0 0 0 0 0 0
eth0:1:5007761593 4564070 0 5 0 0 0 0 1 7 0 6 0 0 0 0
`;
  deepEqual([...parseDevices(text)], [
    ["lo", { received: 2, sent: 3, dropped: 0 }],
    ["eth0:1", { received: 4564070, sent: 7, dropped: 11 }],
  ]);
});
