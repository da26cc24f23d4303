import assert from "node:assert/strict";
import type { DiagSocket } from "../linux/sock_diag.ts";
import { endStaleUdpSockets, REFUSED, type StaleSearch } from "./hostlb_sockets.ts";
import type { Backend, HostlbConnection, Service, ServiceKey } from "./layout.ts";

const VIP = { addr: "10.96.0.10", port: 53 };
const A = { addr: "10.1.0.2", port: 8053 };
const B = { addr: "10.1.0.3", port: 8053 };

interface Given {
  remote: { addr: string; port: number };
  /** Undefined: the socket is not connected to a service. */
  connection?: HostlbConnection;
  /** By address; its backends. */
  services?: Record<string, (typeof A)[]>;
}

/** Whether a socket is ended. */
function ends({ remote, connection, services = {} }: Given): boolean {
  const socket: DiagSocket = { family: 2, remote, cookie: 7n, id: new Uint8Array(48) };
  const backends = Object.values(services).flat();
  const forgotten: bigint[] = [];
  const search: StaleSearch = {
    connections: {
      get: ({ cookie }) => cookie === 7n ? connection : undefined,
      delete: ({ cookie }) => forgotten.push(cookie) > 0,
    },
    services: {
      get({ addr, port, proto, scope }: ServiceKey): Service | undefined {
        const run = services[addr];
        if (!run || port !== VIP.port || proto !== 17 || scope !== 0) return undefined;
        const first = Object.values(services).flat().indexOf(run[0]!);
        const rest = { id: 1, total_weight: 0, affinity_seconds: 0, flags: 0, table: 0 };
        return { ...rest, first, count: run.length };
      },
    },
    backends: {
      range: (first, count): Backend[] =>
        backends.slice(first, first + count).map((at) => ({ ...at, flags: 0, weight_end: 0 })),
    },
  };
  const destroyed: DiagSocket[] = [];
  const diag = {
    connectedUdp: () => [socket],
    destroy: (socket: DiagSocket) => destroyed.push(socket) > 0,
  };
  const count = endStaleUdpSockets(diag, search);
  assert.equal(count, destroyed.length);
  assert.deepEqual(forgotten, destroyed.map(({ cookie }) => cookie));
  return count > 0;
}

function connected(to: typeof A, asked = VIP): HostlbConnection {
  return { ...asked, backend_addr: to.addr, backend_port: to.port };
}

Deno.test("endStaleUdpSockets() leaves a socket whose backend is one of the service's", () => {
  const services = { "10.96.0.11": [{ ...A }], [VIP.addr]: [B, A] };
  assert.equal(ends({ remote: A, connection: connected(A), services }), false);
});

Deno.test("endStaleUdpSockets() ends a socket whose backend or service is gone", () => {
  for (const services of [{ [VIP.addr]: [B] }, { [VIP.addr]: [] }, {}]) {
    assert.equal(ends({ remote: A, connection: connected(A), services }), true);
  }
});

Deno.test("endStaleUdpSockets() leaves a socket that is not connected to a service", () => {
  assert.equal(ends({ remote: A, services: { [VIP.addr]: [B] } }), false);
});

Deno.test("endStaleUdpSockets() leaves a socket that was connected elsewhere since", () => {
  const services = { [VIP.addr]: [B] };
  for (const remote of [B, { ...A, port: 1 }]) {
    assert.equal(ends({ remote, connection: connected(A), services }), false);
  }
});

Deno.test("endStaleUdpSockets() knows NodePorts by any address of a node", () => {
  const connection = connected(A, { addr: "192.0.2.1", port: VIP.port });
  assert.equal(ends({ remote: A, connection, services: { "0.0.0.0": [A] } }), false);
  assert.equal(ends({ remote: A, connection, services: { "0.0.0.0": [B] } }), true);
});

Deno.test("endStaleUdpSockets() ends a refused socket once its service has a backend", () => {
  const given = { remote: { ...REFUSED }, connection: connected(REFUSED) };
  assert.equal(ends({ ...given, services: { [VIP.addr]: [A] } }), true);
  assert.equal(ends({ ...given, services: { [VIP.addr]: [] } }), false);
  assert.equal(ends({ ...given, services: {} }), false);
});
