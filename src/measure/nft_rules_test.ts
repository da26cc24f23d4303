import assert from "node:assert/strict";
import { nftRules } from "./nft_rules.ts";

const backends = [{ addr: "10.244.1.3", port: 8080 }, { addr: "10.244.1.4", port: 8080 }];
const text = nftRules([
  { addr: "10.96.0.1", port: 80, backends },
  { addr: "10.96.0.1", port: 80, protocol: "udp", nodePort: 30080, backends },
], { clusterCIDR: "10.244.0.0/16", serviceCIDR: "10.96.0.0/16", nodeAddresses: ["192.168.50.11"] });

/** What stands between the braces of a chain, set or map. */
function body(name: string): string {
  const found = new RegExp(`(?:chain|set|map) ${name} \\{([^\\n]*)\\}\\n`).exec(text)?.[1];
  assert.ok(found, name);
  return found;
}

Deno.test("nftRules() declares chains, sets and maps before they are used", () => {
  // A hook's chains come last; what they jump to is there by then.
  for (const [, target = ""] of text.matchAll(/(?:jump|goto) ([^\s;,}]+)/g)) {
    const declared = text.indexOf(`chain ${target} {`);
    assert.ok(declared >= 0 && declared < text.lastIndexOf(target), target);
  }
  for (const [, name = ""] of text.matchAll(/@([a-z-]+)/g)) {
    assert.match(text, new RegExp(`(set|map) ${name} \\{`));
  }
});

Deno.test("nftRules() finds a service by address, protocol and port in one map", () => {
  assert.match(
    body("service-ips"),
    /10\.96\.0\.1 \. tcp \. 80 : goto service-bench\/service-0\/tcp\/http/,
  );
  assert.match(
    body("service-ips"),
    /10\.96\.0\.1 \. udp \. 80 : goto service-bench\/service-1\/udp\/http/,
  );
});

Deno.test("nftRules() draws one of the backends and translates to it", () => {
  const service = body("service-bench/service-0/tcp/http");
  assert.match(service, /numgen random mod 2 vmap \{ 0 : goto \S+-0, 1 : goto \S+-1 \}/);
  assert.match(
    body("endpoint-bench/service-0/tcp/http-1"),
    /meta l4proto tcp dnat to 10\.244\.1\.4:8080/,
  );
});

Deno.test("nftRules() masquerades hairpin flows, NodePorts, and what comes from outside the cluster", () => {
  assert.match(body("endpoint-bench/service-0/tcp/http-0"), /ip saddr 10\.244\.1\.3 jump mark/);
  assert.match(
    body("external-bench/service-1/udp/http"),
    /jump mark-for-masquerade; goto service-/,
  );
  assert.match(body("service-bench/service-0/tcp/http"), /ip saddr != 10\.244\.0\.0\/16 jump mark/);
});
