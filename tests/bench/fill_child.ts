/**
 * Fills an API server with a large cluster, requests in parallel. A process of its own because it runs in the API server's
 * network namespace. Arguments: kubeconfig, an `ApiCluster` as JSON.
 */
import process from "node:process";
import { ApiClient } from "../../src/cluster/kube/client.ts";
import { loadKubeconfig } from "../../src/cluster/kube/kubeconfig.ts";
import {
  API_NAMESPACE,
  type ApiCluster,
  endpointsBody,
  nodeBody,
  serviceBody,
} from "./api_objects.ts";

/** More do not make it faster: the server hands out service addresses one by one. */
const PARALLEL = 24;

const [kubeconfig, size] = process.argv.slice(2);
const cluster: ApiCluster = JSON.parse(size!);
const client = new ApiClient(loadKubeconfig(kubeconfig!));
const { signal } = new AbortController();

function create(path: string, body: unknown): Promise<unknown> {
  return client.json(path, { method: "POST", body, signal });
}

/** `count` calls, PARALLEL of them under way at any time. */
async function each(count: number, call: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await call(next++);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}

const namespaced = `/api/v1/namespaces/${API_NAMESPACE}`;
await create("/api/v1/namespaces", {
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: API_NAMESPACE },
});
await each(cluster.services, (i) => create(`${namespaced}/services`, serviceBody(i)));
await each(cluster.services, (i) => create(`${namespaced}/endpoints`, endpointsBody(i, cluster)));
await each(cluster.nodes, (i) => create("/api/v1/nodes", nodeBody(i)));
client.close();
console.log(JSON.stringify(cluster));
