/** The cases of dispatcher_test.ts on the transitional programs, which write both tables. */
import { CONVERSION_PHASE } from "../../src/bpf/layout.ts";
import { loadConverting } from "./support/converting.ts";
import { node } from "./support/node.ts";
import { runPacketTests } from "./support/suite.ts";
import "./cases/dispatcher/nodeport.ts";
import "./cases/dispatcher/host_ports.ts";
import "./cases/dispatcher/remote.ts";
import "./cases/dispatcher/refuse.ts";
import "./cases/dispatcher/path.ts";
import "./cases/dispatcher/fragments.ts";
import "./cases/dispatcher/icmp.ts";
import "./cases/dispatcher/ports.ts";
import "./cases/dispatcher/masquerade.ts";
import "./cases/dispatcher/leave.ts";
import "./cases/dispatcher/overlay.ts";
import "./cases/dispatcher/node_flow.ts";
import "./cases/dispatcher/pass.ts";

runPacketTests(
  "k8sdispatcher, transitional",
  node,
  loadConverting(({ setPhase }) => setPhase(CONVERSION_PHASE.MIRRORED)),
);
