import assert from "node:assert/strict";
import { parse } from "yaml";
import {
  backendAddress,
  clusterIP,
  LARGE,
  manifest,
  serviceObject,
  sliceObject,
} from "./cluster.ts";

Deno.test("clusterIP() and backendAddress() give every service and backend an address of its own", () => {
  const all = new Set<string>();
  for (let i = 0; i < LARGE.services; i++) {
    all.add(clusterIP(i));
    for (let j = 0; j < LARGE.backends; j++) {
      all.add(backendAddress(i, j));
      if (j === 0) all.add(backendAddress(i, j, 1));
    }
  }
  assert.equal(all.size, LARGE.services * (LARGE.backends + 2));
  assert.equal(clusterIP(0), "10.96.0.1");
  assert.equal(clusterIP(255), "10.96.1.0");
});

Deno.test("manifest() tells what the objects tell", () => {
  const [service, slice] = manifest(7, 3, 1).split("---\n").map((text) => parse(text));
  assert.deepEqual(service.spec.clusterIPs, serviceObject(7).clusterIPs);
  assert.deepEqual(
    slice.endpoints.map(({ addresses }: { addresses: string[] }) => addresses[0]),
    sliceObject(7, 3, 1).endpoints.map(({ address }) => address),
  );
});
