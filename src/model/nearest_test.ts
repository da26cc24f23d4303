import { equal } from "node:assert/strict";
import { nearest } from "./nearest.ts";

Deno.test("nearest() finds what a slip of the finger meant", () => {
  equal(nearest("app=wbe", ["app=db", "app=web"]), "app=web", "an exchange is one slip");
  equal(nearest("staus", ["version", "status"]), "status");
  equal(nearest("SERVICES", ["services"]), "services");
  equal(nearest("servicesx", ["sessions", "services"]), "services");
  equal(nearest("topology", ["get", "lab"]), undefined);
});
