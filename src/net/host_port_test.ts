import { deepEqual, equal, throws } from "node:assert/strict";
import { hostAddress, joinHostPort, splitHostPort } from "./host_port.ts";

Deno.test("splitHostPort() and joinHostPort() are each other's reverse", () => {
  for (const text of ["10.0.0.1:80", "0.0.0.0:0", "[::1]:65535", "[fd00::1]:443"]) {
    const { address, port } = splitHostPort(text);
    equal(joinHostPort(address, port), text);
  }
  deepEqual(splitHostPort("[FD00:0::1]:080"), { address: "fd00::1", port: 80 });
});

Deno.test("splitHostPort() refuses with a reason", () => {
  const cases: [text: string, reason: RegExp][] = [
    ["", /^"" is not an ADDRESS:PORT like 127.0.0.1:80: it has no port$/],
    ["9880", /it has no port$/],
    ["127.0.0.1", /it has no port$/],
    ["127.0.0.1:", /its port must be a number from 0 to 65535$/],
    ["127.0.0.1:65536", /its port must be a number/],
    ["127.0.0.1:http", /its port must be a number/],
    ["::1:80", /an IPv6 address needs \[ and \] around it$/],
    ["[::1]", /its port must be a number|needs \[ and \]/],
    ["[10.0.0.1]:80", /it is an IPv4 address$/],
    ["localhost:80", /"l" is neither a digit nor a dot$/],
    ["10.0.0.256:80", /256 is more than 255$/],
  ];
  for (const [text, message] of cases) {
    throws(() => splitHostPort(text), { name: "AddressError", message }, text);
  }
});

Deno.test("hostAddress() tells addresses from names", () => {
  const hosts = ["10.0.0.1", "[fd00::1]", "localhost", "fd00::1", "[10.0.0.1]", "[::1", "10.0.0"];
  deepEqual(hosts.map(hostAddress), ["10.0.0.1", "fd00::1", ...new Array(5).fill(undefined)]);
});
