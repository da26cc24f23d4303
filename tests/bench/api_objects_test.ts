import assert from "node:assert/strict";
import { apiServiceAddress, endpointsBody, nodeBody, serviceBody } from "./api_objects.ts";
import { manyApiServices, SERVER } from "./many.ts";

Deno.test("apiServiceAddress() keeps clear of what the API server takes, and inside 10.96.0.0/16", () => {
  const all = Array.from({ length: 10_000 }, (_, i) => apiServiceAddress(i));
  assert.equal(new Set(all).size, 10_000);
  assert.ok(all.every((address) => /^10\.96\.(1[6-9]|[2-5]\d)\./.test(address)));
});

Deno.test("endpointsBody() gives each service other backends, or all of them the same one", () => {
  const addresses = (i: number, backends: number | string) =>
    endpointsBody(i, { backends }).subsets[0]!.addresses.map(({ ip }) => ip);
  assert.equal(new Set([...addresses(0, 10), ...addresses(9999, 10)]).size, 20);
  assert.deepEqual(addresses(7, "10.244.1.3"), ["10.244.1.3"]);
});

Deno.test("nodeBody() gives each node an address and a podCIDR of its own", () => {
  const nodes = Array.from({ length: 5000 }, (_, i) => nodeBody(i));
  assert.equal(new Set(nodes.map(({ spec }) => spec.podCIDR)).size, 5000);
  const addresses = nodes.map(({ status }) => status.addresses[0]!.address);
  assert.equal(new Set(addresses).size, 5000);
  for (const address of addresses) {
    const [a, b, c, d] = address.split(".").map(Number);
    assert.ok(a === 172 && b === 16 && c! <= 255 && d! >= 1 && d! <= 254, address);
  }
});

Deno.test("manyApiServices() are the Services and Endpoints that the API server is given", () => {
  const services = manyApiServices();
  for (const i of [0, 5000, 9999]) {
    const { clusterIP, ports } = serviceBody(i).spec;
    const { addresses } = endpointsBody(i, { backends: SERVER }).subsets[0]!;
    assert.deepEqual(services[i], {
      addr: clusterIP,
      port: ports[0]!.port,
      backends: addresses.map(({ ip }) => ({ addr: ip, port: ports[0]!.targetPort })),
    });
  }
});
