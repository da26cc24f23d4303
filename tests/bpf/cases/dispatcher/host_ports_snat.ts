/** Ports for masquerade keep clear of hostPorts; the programs of a conversion do not look. */
import assert from "node:assert/strict";
import { OUTSIDE, PORTS } from "../../support/node.ts";
import { PROTO, tcp } from "../../support/packet.ts";
import { CLIENT, LOCAL, test } from "../../support/scene.ts";

test("masquerade takes no port that is a hostPort", (w) => {
  const only = PORTS.snat_first;
  w.configure({ snat_first: only, snat_last: only });
  const packet = tcp({ src: `${CLIENT}:40000`, dst: `${OUTSIDE}:80`, flags: "S" });
  w.maps.host_ports.set({ addr: "0.0.0.0", port: only, proto: PROTO.TCP }, {
    addr: LOCAL,
    port: 80,
  });
  w.check({ program: "k8sd_to_uplink", packet, reason: "drop_ports_exhausted" });
  w.maps.host_ports.delete({ addr: "0.0.0.0", port: only, proto: PROTO.TCP });
  w.run(packet, "k8sd_to_uplink");
  assert.equal(w.counter("masqueraded") > 0n, true);
});
