import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { isIPv4, isIPv6 } from "node:net";
import {
  addressBytes,
  AddressColumn,
  addressOf,
  addressValue,
  formatAddress,
  isAddress,
  parseAddress,
  readAddress,
  readValue,
} from "./address.ts";
import { AddressError } from "./error.ts";

const canonical = (cases: readonly (readonly [string, string])[]) => {
  for (const [given, expected] of cases) equal(parseAddress(given), expected, given);
};

Deno.test("parseAddress() takes every form of RFC 4291, 2.2", () =>
  canonical([
    ["ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"],
    ["2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"],
    ["FF01:0:0:0:0:0:0:101", "ff01::101"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["::", "::"],
    ["1::", "1::"],
    ["0:0:0:0:0:0:13.1.68.3", "::d01:4403"],
    ["::13.1.68.3", "::d01:4403"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
    ["10.0.0.1", "10.0.0.1"],
  ]));

Deno.test("parseAddress() gives RFC 5952's text", () =>
  canonical([
    // 1, 2: all of these are one address.
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8::1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8::0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:0db8::1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:0:1::1", "2001:db8::1:0:0:1"],
    ["2001:DB8:0:0:1::1", "2001:db8::1:0:0:1"],
    ["2001:db8:aaaa:bbbb:cccc:dddd:eeee:0001", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1"],
    ["2001:db8:aaaa:bbbb:cccc:dddd:0:1", "2001:db8:aaaa:bbbb:cccc:dddd:0:1"],
    // 4.2.1: as short as possible; 4.2.2: not one group alone; 4.2.3: the longest, or the first.
    ["2001:db8:0:0:0:0:2:1", "2001:db8::2:1"],
    ["2001:db8::0:1", "2001:db8::1"],
    ["2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ]));

Deno.test("formatAddress() writes an IPv4-mapped address with a dotted quad (RFC 5952, 5)", () => {
  const bytes = new Uint8Array(16);
  bytes.set([255, 255, 10, 0, 0, 1], 10);
  equal(formatAddress(bytes), "::ffff:10.0.0.1");
});

Deno.test("parseAddress() refuses with a reason", () => {
  const cases: [text: string, reason: RegExp][] = [
    ["", /^"" is not an IP address: it is empty$/],
    ["010.0.0.1", /010 has a leading zero, which some programs read as octal$/],
    ["10.0.0.256", /256 is more than 255$/],
    ["10.0.0", /it has 3 numbers instead of 4$/],
    ["10.0.0.0.1", /it has 5 numbers instead of 4$/],
    ["10..0.1", /a number is missing$/],
    ["10.0.0.1 ", /" " is neither a digit nor a dot$/],
    ["-1.2.3.4", /"-" is neither a digit nor a dot$/],
    ["None", /"N" is neither a digit nor a dot$/],
    ["1.2.3.😀", /"😀" is neither a digit nor a dot$/],
    ["fe80::1%eth0", /the zone "%eth0" means something on one host only$/],
    ["::ffff:10.0.0.1", /it is the IPv4 address 10.0.0.1 in IPv6's form; write 10.0.0.1$/],
    ["::ffff:a00:1", /it is the IPv4 address 10.0.0.1 in IPv6's form; write 10.0.0.1$/],
    [":", /a group is missing$/],
    [":::", /a group is missing$/],
    [":1::2", /a group is missing$/],
    ["1:2:3:4:5:6:7:", /it ends with a colon$/],
    ["1:2:3:4:5:6:7", /it has 7 groups instead of 8, and no ::$/],
    ["1:2:3:4:5:6:7:8:9", /it has more than 8 groups$/],
    ["1:2:3:4:5:6:7:1.2.3.4", /it has more than 8 groups$/],
    ["1:2:3:4::5:6:7:8", /it has :: beside 8 groups$/],
    ["1::2::3", /it has :: twice$/],
    ["::12345", /12345 has more than 4 digits$/],
    ["::g", /"g" is neither a hexadecimal digit nor a colon$/],
    ["[::1]", /"\[" is neither a hexadecimal digit nor a colon$/],
    ["::1.2.3.04", /"1.2.3.04" at its end is no IPv4 address: 04 has a leading zero/],
    ["::1.2.3.4:5", /"1.2.3.4:5" at its end is no IPv4 address/],
  ];
  for (const [text, message] of cases) {
    throws(() => parseAddress(text), { name: "AddressError", message }, text);
    ok(!isAddress(text), text);
  }
  throws(() => parseAddress("::1", 4), /"::1" is not an IPv4 address: it is an IPv6 address$/);
  throws(() => parseAddress("10.0.0.1", 6), /not an IPv6 address: it is an IPv4 address$/);
  const family = (text: string) => {
    try {
      parseAddress(text, 4);
    } catch (error) {
      return (error as AddressError).family;
    }
  };
  deepEqual(["fe80::1%eth0", "::ffff:1.2.3.4", "::1", "web:80"].map(family), [6, 6, 6, undefined]);
});

/** The whole of a text in URL's own canonical form; undefined when it refuses it. */
function urlAddress(text: string): string | undefined {
  return URL.canParse(`http://[${text}]`)
    ? new URL(`http://[${text}]`).hostname.slice(1, -1)
    : undefined;
}

Deno.test("parseAddress() agrees with node:net and URL on random texts", () => {
  let seed = 7;
  const below = (n: number) => (seed = seed * 48271 % 0x7fffffff) % n;
  const pick = <T>(...from: T[]) => from[below(from.length)]!;
  const group = () => pick<string>("0", "0", "00", "1", "0f", "A0c", "ffff", "12345", "", "x");
  const quad = () =>
    Array.from({ length: pick(4, 4, 4, 3) }, () => pick("0", "9", "255", "256", "01")).join(".");
  let taken = 0;
  for (let i = 0; i < 60_000; i++) {
    const groups = Array.from({ length: pick(2, 4, 6, 7, 8, 8, 9) }, group);
    if (pick(true, false)) groups.splice(below(groups.length), pick(0, 1), "");
    if (pick(true, false, false)) groups.push(quad());
    const text = pick("", "", "", ":", "::") + groups.join(":") + pick("", "", "", ":", "::");
    if (isIPv6(text) && !/^::ffff:[^:]+:[^:]+$/.test(urlAddress(text)!)) {
      equal(parseAddress(text), urlAddress(text), text);
      taken++;
    } else ok(!isAddress(text), text);
    const dotted = quad();
    equal(isAddress(dotted), isIPv4(dotted), dotted);
  }
  ok(taken > 1000, `${taken} addresses`);
  for (let i = 0; i < 10_000; i++) {
    const bytes = Uint8Array.from({ length: 16 }, () => pick(0, 0, 0, below(256)));
    bytes[0] = 0x20; // neither mapped nor compatible
    const text = formatAddress(bytes);
    equal(text, urlAddress(text));
    deepEqual(addressBytes(text), bytes);
    equal(addressOf(addressValue(text)), text);
  }
});

Deno.test("addressBytes() and readAddress() are in network order", () => {
  deepEqual([...addressBytes("255.0.128.1")], [255, 0, 128, 1]);
  deepEqual([...addressBytes("fd00::1:203")], [0xfd, ...new Array(12).fill(0), 1, 2, 3]);
  const view = new DataView(new ArrayBuffer(24), 2);
  for (const [family, text] of [[4, "10.1.2.3"], [6, "fd00::2"]] as const) {
    new Uint8Array(view.buffer).set(addressBytes(text), 5);
    equal(readAddress(view, 3, family), text);
    equal(readValue(view, 3, family), addressValue(text));
  }
  throws(() => addressBytes("10.1.2"), AddressError);
});

Deno.test("AddressColumn holds addresses of its family", () => {
  for (const [family, text] of [[4, "255.0.0.1"], [6, "fd00::1:0:0:ffff:1"]] as const) {
    const column = new AddressColumn(3, family);
    column.set(1, addressValue(text));
    equal(addressOf(column.get(1)), text);
    equal(addressOf(column.get(2)), family === 4 ? "0.0.0.0" : "::");
  }
});
