import assert from "node:assert/strict";
import type { EndpointSlice } from "./objects.ts";
import { applyChange, emptyState } from "./state.ts";

const slice = (serviceName?: string): EndpointSlice => ({
  kind: "EndpointSlice",
  namespace: "shop",
  name: "web-1",
  addressType: "IPv4",
  ports: [],
  endpoints: [],
  ...(serviceName === undefined ? {} : { serviceName }),
});

Deno.test("applyChange() says which Services a slice touches, also when its label moves", () => {
  const state = emptyState();
  const put = (object: EndpointSlice) => applyChange(state, { type: "upsert", object });
  assert.deepEqual(put(slice("web")), ["shop/web"]);
  assert.equal(state.slices.get("shop/web")?.size, 1);
  assert.deepEqual(put(slice("api")), ["shop/web", "shop/api"]);
  assert.equal(state.slices.get("shop/web"), undefined);
  assert.deepEqual(put(slice()), ["shop/api"]);
  assert.deepEqual(applyChange(state, { type: "delete", object: slice() }), []);
  assert.deepEqual(state, emptyState());
});

Deno.test("applyChange() takes what was put in out again", () => {
  const state = emptyState();
  const node = { kind: "Node", name: "a", internalIPs: [], podCIDRs: [] } as const;
  const object = { ...node, internalIPs: [], podCIDRs: [] };
  assert.deepEqual(applyChange(state, { type: "upsert", object }), []);
  assert.equal(state.nodes.get("a"), object);
  applyChange(state, { type: "delete", object });
  assert.deepEqual(state, emptyState());
});
