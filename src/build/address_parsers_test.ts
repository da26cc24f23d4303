import { deepEqual } from "node:assert/strict";
import { readSources } from "./imports.ts";
import { root } from "./steps.ts";

/** Marks of code that reads addresses, prefixes or `address:port` by itself: src/net is the one place for that. */
const marks: readonly RegExp[] = [
  // A regular expression for a dotted quad, or for the groups of an IPv6 address.
  /\/.*(\\d\S*\\\.\S*\{3\}|\[\^?[^\]\s]*a-f[^\]\s]*:|\[\^?[^\]\s]*:[^\]\s]*a-f|\^\[\\d\.\]).*\//i,
  // A text that is called an address or a prefix, taken apart.
  /(addr|address|cidrs?|gateway|subnet|host|endpoint)!?\??\.split\("[./:]"/i,
  // An address packed into one number with something else.
  /\* (65536|0x10000) \+|2 \*\* 4[89]/,
  /function (parse|format|is|looksLike)(Ip(v[46])?|Cidr|Prefix|Mac)s?[(<]/,
];

/** Lines that carry a mark, as `path: line`. */
function addressParsers(sources: ReadonlyMap<string, string>): string[] {
  return [...sources].flatMap(([path, source]) => {
    const tests = path.startsWith("tests/") || /_(test|support)\.ts$/.test(path);
    if (tests || path.startsWith("src/net/")) return [];
    return source.split("\n").filter((line) => marks.some((mark) => mark.test(line)))
      .map((line) => `${path}: ${line.trim()}`);
  });
}

Deno.test("addressParsers() knows the parsers that there were", () => {
  const former = [
    'const [address = "", length = "", ...rest] = cidr.split("/");',
    "return /^[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:.]*(%.+)?$/.test(text);",
    'const bytes = address.split(".").map(Number);',
    "/^(off|(\\d{1,3}(\\.\\d{1,3}){3}|\\[[0-9a-fA-F:]+\\]):\\d{1,5})$/,",
    "return (addr * 65536 + port) * 2 + (proto === PROTO.tcp ? 1 : 0);",
    'return hostname === "localhost" || /^\\d+(\\.\\d+){3}$/.test(hostname);',
    "const isName = !/^[\\d.]+$|:/.test(address.hostname);",
    "function isIpv6(text: string): boolean {",
  ];
  const others = [
    "if (/^\\d+(\\.\\d+)?$/.test(value)) return Number(value);",
    'const [namespace = "", name = ""] = key.split("/");',
    'const commit = version.replace(/^([0-9a-f]{12})[0-9a-f]*/, "$1");',
  ];
  const found = addressParsers(new Map([["src/a/b.ts", [...former, ...others].join("\n")]]));
  deepEqual(found, former.map((line) => `src/a/b.ts: ${line}`));
});

Deno.test("only src/net reads addresses, prefixes and address:port", () => {
  deepEqual(addressParsers(readSources(root)), []);
});
