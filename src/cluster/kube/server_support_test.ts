import { equal } from "node:assert/strict";
import { ApiServer } from "./server_support.ts";

Deno.test("the double of the API server goes down though a watch comes at that moment", async () => {
  const api = new ApiServer();
  const arrived = Promise.withResolvers<void>(), gate = Promise.withResolvers<undefined>();
  api.intercept = () => {
    arrived.resolve();
    return gate.promise as unknown as Promise<Response>;
  };
  const answer = fetch(`${api.url}/api/v1/services?watch=1&resourceVersion=10`);
  await arrived.promise;
  const down = api.down();
  gate.resolve(undefined);
  equal(await (await answer).text(), "");
  await down;
});
