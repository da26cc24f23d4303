/**
 * pcnk on a real Kubernetes: API server, controllers, scheduler, and two nodes with kubelet and containerd, no kube-proxy.
 * pcnk comes as its users bring it: an image and what `pcnk manifest` prints. Skipped with the reason where there is no kit
 * to bring such a cluster up (docs/cluster-tests.md).
 */
import { agent } from "./cases/agent.ts";
import { basic } from "./cases/basic.ts";
import { changes } from "./cases/changes.ts";
import { nodes } from "./cases/nodes.ts";
import { removal } from "./cases/removal.ts";
import { services } from "./cases/services.ts";
import { smoke } from "./cases/smoke.ts";
import { provider } from "./support/provider.ts";
import { suite } from "./support/suite.ts";

const test = suite();
basic(test);
services(test);
changes(test);
nodes(test);
smoke(test);
if (provider.name === "pcnk") {
  agent(test);
  removal(test);
}
