import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { parseInterface, parseNetwork, parsePrefix, Prefix } from "./prefix.ts";

Deno.test("parsePrefix() and parseNetwork() give the canonical text", () => {
  for (
    const [given, text] of [
      ["10.244.1.0/24", "10.244.1.0/24"],
      ["10.244.1.77/24", "10.244.1.0/24"],
      ["192.0.2.1/32", "192.0.2.1/32"],
      ["255.1.2.3/0", "0.0.0.0/0"],
      ["FD00:0:0::/48", "fd00::/48"],
      ["fd00::1234:5678/112", "fd00::1234:0/112"],
      ["2001:db8::1/128", "2001:db8::1/128"],
      ["ffff::/1", "8000::/1"],
      ["1::/0", "::/0"],
    ] as const
  ) {
    equal(parseNetwork(given).text, text);
    equal(parsePrefix(text).text, text);
  }
  equal(parsePrefix("240.0.0.0/4").last, 0xffffffff);
});

Deno.test("parsePrefix() refuses with a reason", () => {
  const cases: [text: string, reason: RegExp][] = [
    ["", /^"" is not an IP prefix: it has no \/LENGTH$/],
    ["10.0.0.0", /it has no \/LENGTH$/],
    ["10.0.0/8", /it has 3 numbers instead of 4$/],
    ["10.0.0.0/", /its length must be a number from 0 to 32$/],
    ["10.0.0.0/33", /from 0 to 32$/],
    ["10.0.0.0/08", /from 0 to 32$/],
    ["10.0.0.0/8/8", /from 0 to 32$/],
    ["10.0.0.0/-1", /from 0 to 32$/],
    ["fd00::/129", /from 0 to 128$/],
    ["fe80::%eth0/64", /the zone "%eth0" means something on one host only$/],
    ["10.0.0.1/8", /it has bits set beyond the first 8; write 10.0.0.0\/8$/],
    ["fd00::1/64", /it has bits set beyond the first 64; write fd00::\/64$/],
  ];
  for (const [text, message] of cases) {
    throws(() => parsePrefix(text), { name: "AddressError", message }, text);
  }
  throws(() => parsePrefix("fd00::/8", 4), /not an IPv4 prefix: it is an IPv6 address$/);
  deepEqual(parseInterface("10.1.2.3/24"), { address: "10.1.2.3", length: 24 });
});

Deno.test("Prefix: contains(), overlaps() and at()", () => {
  const [four, six] = [parsePrefix("10.244.1.0/24"), parsePrefix("fd00:1::/64")];
  ok(four.contains("10.244.1.0") && four.contains("10.244.1.255"));
  ok(!four.contains("10.244.2.0") && !four.contains("10.244.0.255") && !four.contains("fd00:1::1"));
  ok(six.contains("fd00:1::") && six.contains("fd00:1::ffff:ffff:ffff:ffff"));
  ok(!six.contains("fd00:1:0:1::") && !six.contains("10.244.1.1"));
  const meets = (a: string, b: string) => parsePrefix(a).overlaps(parsePrefix(b));
  ok(meets("10.0.0.0/8", "10.1.0.0/16") && meets("10.1.0.0/16", "10.0.0.0/8"));
  ok(!meets("10.0.0.0/16", "10.1.0.0/16") && !meets("0.0.0.0/0", "::/0"));
  ok(meets("fd00::/8", "fdff::1/128"));
  equal(four.at(1), "10.244.1.1");
  equal(six.at(10), "fd00:1::a");
  equal(new Prefix("10.0.0.1", 31).address, "10.0.0.0");
});
