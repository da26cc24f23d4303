import { deepEqual } from "node:assert/strict";
import type { ServiceRow } from "../view/services.ts";
import { groupServices } from "./snapshot.ts";

function entry(service: string, port: number, backends: number, more: Partial<ServiceRow> = {}) {
  return {
    name: `default/${service}`,
    namespace: "default",
    service,
    port,
    protocol: "TCP",
    address: "10.96.0.1",
    frontendPort: port,
    from: "inside",
    backends,
    affinitySeconds: 0,
    algorithm: "random",
    localOnly: false,
    sourceRanges: [],
    id: 1,
    ...more,
  } satisfies ServiceRow as ServiceRow;
}

Deno.test("groupServices() makes one of a Service's entries, which refuses when one of its ports does", () => {
  const grouped = groupServices([
    entry("web", 80, 3),
    entry("web", 443, 0),
    entry("web", 80, 3, { address: "*", frontendPort: 30080 }),
    entry("db", 5432, 1),
  ]);
  const short = [...grouped.values()].map(({ name, frontends, backends, refuses }) => ({
    name,
    frontends,
    backends,
    refuses,
  }));
  deepEqual(short, [
    {
      name: "default/web",
      frontends: ["10.96.0.1:80/TCP", "10.96.0.1:443/TCP", "*:30080/TCP"],
      backends: 3,
      refuses: true,
    },
    { name: "default/db", frontends: ["10.96.0.1:5432/TCP"], backends: 1, refuses: false },
  ]);
});
