import { deepEqual, throws } from "node:assert/strict";
import { portMappings } from "./port_mappings.ts";

const web = { hostPort: 8080, containerPort: 80, protocol: "tcp" };
const one = { hostIP: "0.0.0.0", hostPort: 8080, containerPort: 80, protocol: "tcp" };

Deno.test("portMappings() takes what runtimes send, each mapping once", () => {
  deepEqual(portMappings(undefined), []);
  deepEqual(portMappings(null), []);
  deepEqual(portMappings([]), []);
  for (
    const more of [{}, { hostIP: "" }, { hostIP: null }, { protocol: "TCP" }, { protocol: "" }]
  ) {
    deepEqual(portMappings([{ ...web, ...more }, web]), [one]);
  }
  // As containerd 1.6 sends it.
  const entry = { HostPort: 8080, ContainerPort: 80, Protocol: "tcp", HostIP: "" };
  deepEqual(portMappings([entry]), [one]);
  deepEqual(portMappings([{ ...web, hostIP: "127.0.0.1", protocol: "UDP", other: {} }]), [
    { ...one, hostIP: "127.0.0.1", protocol: "udp" },
  ]);
});

Deno.test("portMappings() leaves out ports without a hostPort and addresses of IPv6", () => {
  deepEqual(portMappings([{ containerPort: 80 }, { ...web, hostPort: 0 }]), []);
  deepEqual(portMappings([{ ...web, hostIP: "::" }, { ...web, hostIP: "2001:db8::1" }, web]), [
    one,
  ]);
});

Deno.test("portMappings() refuses the rest, and names it", () => {
  const cases: [unknown, RegExp][] = [
    ["80", /portMappings must be a list/],
    [["80"], /portMappings\[0\] must be an object/],
    [[web, { ...web, hostPort: 65536 }], /\[1\]\.hostPort must be a port from 0 to 65535/],
    [[{ ...web, hostPort: -1 }], /hostPort must be/],
    [[{ ...web, hostPort: "80" }], /hostPort must be/],
    [[{ ...web, containerPort: 0 }], /containerPort must be a port from 1/],
    [[{ hostPort: 1 }], /containerPort must be/],
    [[{ ...web, protocol: "sctp" }], /protocol must be tcp or udp/],
    [[{ ...web, hostIP: "10.0.0" }], /hostIP must be an IP address/],
    [[web, { ...web, containerPort: 81 }], /maps 0\.0\.0\.0:8080\/tcp a second time/],
  ];
  for (const [value, message] of cases) throws(() => portMappings(value), { code: 7, message });
});
