/**
 * Ten thousand services for the comparison with kube-proxy: one backend each, which is its best case (with ten, iptables-save
 * 1.8.9 on nf_tables crashes after a minute). The real kube-proxy's rules for them come from here too.
 */
import { fill } from "./api_fill.ts";
import { API_PORT, apiServiceAddress } from "./api_objects.ts";
import { type ControlPlane, output, placeOn, startControlPlane } from "./control_plane.ts";
import type { Kit } from "./kit.ts";
import type { ServicePort } from "../../src/measure/kubeproxy.ts";
import type { Context } from "./measure.ts";
import { type RecordedProxy, startRecordedProxy } from "./recorded_proxy.ts";
import { Stage } from "./stage.ts";
import { CLUSTER_CIDR } from "../../src/measure/lab_testbed.ts";

export const MANY = 10_000;

/** The server's pod in every topology: the second address that host-local hands out. */
export const SERVER = "10.244.1.3";

/** The services, as the API server has them too. */
export function manyApiServices(): ServicePort[] {
  return Array.from({ length: MANY }, (_, i) => ({
    addr: apiServiceAddress(i),
    port: API_PORT,
    backends: [{ addr: SERVER, port: API_PORT }],
  }));
}

/** A real kube-proxy that has written its rules for the ten thousand. */
export interface ManyPeer {
  stage: Stage;
  control: ControlPlane;
  proxy: RecordedProxy;
}

let rules: string | undefined;

/** Runs `work` beside a kube-proxy; API server and all else are gone afterwards. */
export async function withKubeProxy<T>(
  { signal, progress }: Context,
  kit: Kit,
  work: (peer: ManyPeer) => Promise<T>,
): Promise<T> {
  return await Stage.with(signal, async (stage) => {
    progress("API server");
    const control = await startControlPlane(stage, kit, placeOn(stage));
    progress(`${MANY} services`);
    await fill(control, { services: MANY, backends: SERVER, nodes: 0 }, signal);
    progress("kube-proxy");
    const proxy = startRecordedProxy(stage, control, CLUSTER_CIDR);
    await proxy.restored((input) => input.split(`--to-destination ${SERVER}:`).length > MANY);
    rules ??= await savedRules(control);
    return await work({ stage, control, proxy });
  });
}

/** What kube-proxy has written for the ten thousand, for iptables-restore; taken once in a run. */
export async function kubeProxyManyRules(context: Context, kit: Kit): Promise<string> {
  return rules ?? await withKubeProxy(context, kit, () => Promise.resolve(rules!));
}

async function savedRules({ netns }: ControlPlane): Promise<string> {
  const { success, stdout, stderr } = await output(netns, ["iptables-save"]);
  if (!success) throw new Error(`iptables-save: ${stderr}`);
  return stdout;
}
