import assert from "node:assert/strict";
import { kubeProxyRules } from "../../src/measure/kubeproxy.ts";
import { partialUpdate } from "./kubeproxy_partial.ts";

const backends = [{ addr: "10.244.1.3", port: 8080 }, { addr: "10.244.1.4", port: 8080 }];
const services = Array.from(
  { length: 130 },
  (_, i) => ({ addr: `10.96.1.${i}`, port: 80, backends }),
);
const full = kubeProxyRules(services, "10.244.0.0/16");
const lines = partialUpdate(full, [3, 120]).split("\n");

Deno.test("partialUpdate() dispatches to every service", () => {
  assert.equal(lines.filter((line) => line.startsWith("-A KUBE-SERVICES ")).length, 130 + 1);
});

Deno.test("partialUpdate() has the chains of the changed services alone, and all their rules", () => {
  const own = (text: string[]) => text.filter((line) => /^(:|-A )KUBE-S(VC|EP)-/.test(line));
  const ofOne = own(partialUpdate(full, [3]).split("\n"));
  assert.equal(ofOne.length, 3 + 1 + 2 + 4); // declared; masquerade; picks; endpoints
  assert.ok(ofOne.every((line) => /KUBE-(SVC-0{15}3|SEP-0{11}30000|SEP-0{11}30001) /.test(line)));
  assert.equal(own(lines).length, 2 * ofOne.length);
});

Deno.test("partialUpdate() adds no second jump to a built-in chain", () => {
  assert.deepEqual(lines.filter((line) => /^-A (?!KUBE-)/.test(line)), []);
});
