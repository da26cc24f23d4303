/** Where the optional Kubernetes kit lies: beside the checkout, or where PCNK_KUBE_KIT says (docs/cluster-tests.md). */
import { join } from "node:path";
import process from "node:process";
import { root } from "../../src/build/steps.ts";

export const KIT = process.env.PCNK_KUBE_KIT ?? join(root, "../shared/kube");
