import { deepEqual, equal, throws } from "node:assert/strict";
import type { CniError } from "./errors.ts";
import { isObject } from "../src/node/files.ts";
import { objects, optionalText, parseJson, stringifyJson } from "./json.ts";

Deno.test("parseJson() and stringifyJson() keep every number as it came", () => {
  for (
    const text of [
      '{"a":18446744073709551615,"b":[9007199254740993,-9007199254740993]}',
      '{"a":1e400,"b":0.12345678901234567890,"c":1E5}',
      '{"a":3,"b":-1.5,"id":"0123456789012345678901"}',
    ]
  ) {
    const again = stringifyJson(parseJson(text));
    equal(again, text.replace("1E5", "100000"));
  }
});

Deno.test("parseJson() leaves numbers that fit as numbers", () => {
  deepEqual(parseJson('{"a":1234567890123456,"b":1e3,"c":0.5}'), {
    a: 1234567890123456,
    b: 1000,
    c: 0.5,
  });
});

Deno.test("parseJson() tells what is wrong, shortly", () => {
  throws(() => parseJson(""), { code: 6, message: /it is empty/ });
  throws(() => parseJson('{"a":}'), { code: 6, message: /position 5|Unexpected/ });
  throws(() => parseJson("x".repeat(1_000_000)), (error: Error) => error.message.length < 300);
});

Deno.test("stringifyJson() and parseJson() survive nesting without end", () => {
  // Whether they can write it depends on V8; no other error may come of it.
  const deep = "[".repeat(500_000) + "]".repeat(500_000);
  for (const text of [deep, deep.replace("[]", "[1e400]")]) {
    try {
      equal(stringifyJson(parseJson(text)), text);
    } catch (error) {
      equal((error as CniError).code, 6, String(error));
    }
  }
});

Deno.test("parseJson() makes __proto__ an ordinary key", () => {
  const value = parseJson('{"__proto__":{"polluted":true}}');
  equal(isObject(value) && Object.hasOwn(value, "__proto__"), true);
  equal(({} as Record<string, unknown>).polluted, undefined);
  equal(stringifyJson({ ...value as object }), '{"__proto__":{"polluted":true}}');
});

Deno.test("optionalText() and objects() name the place of what does not fit", () => {
  equal(optionalText(null, "x"), undefined);
  equal(optionalText("a", "x"), "a");
  throws(() => optionalText(5, "x.y"), { code: 7, message: "x.y must be a string" });
  deepEqual(objects(undefined, "x"), []);
  deepEqual(objects([{}], "x"), [{}]);
  throws(() => objects({}, "x"), { code: 7, message: "x must be a list" });
  throws(() => objects([{}, null], "x"), { code: 7, message: "x[1] must be an object" });
});
