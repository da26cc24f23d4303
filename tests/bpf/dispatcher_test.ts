/**
 * Packets through k8sdispatcher's programs, and through lbrp's where a flow's replies take that way (BPF_PROG_TEST_RUN).
 * The cases are in cases/dispatcher/.
 */
import { node } from "./support/node.ts";
import { runPacketTests } from "./support/suite.ts";
import "./cases/dispatcher/nodeport.ts";
import "./cases/dispatcher/host_ports.ts";
import "./cases/dispatcher/host_ports_snat.ts";
import "./cases/dispatcher/remote.ts";
import "./cases/dispatcher/refuse.ts";
import "./cases/dispatcher/path.ts";
import "./cases/dispatcher/fragments.ts";
import "./cases/dispatcher/icmp.ts";
import "./cases/dispatcher/ports.ts";
import "./cases/dispatcher/masquerade.ts";
import "./cases/dispatcher/windows.ts";
import "./cases/dispatcher/leave.ts";
import "./cases/dispatcher/overlay.ts";
import "./cases/dispatcher/node_flow.ts";
import "./cases/dispatcher/pass.ts";
import "./cases/dispatcher/pod_mtu.ts";
import "./cases/dispatcher/affinity.ts";
import "./cases/dispatcher/shares.ts";
import "./cases/dispatcher/exempt.ts";
import "./cases/dispatcher/uplink_source.ts";

runPacketTests("k8sdispatcher", node);
