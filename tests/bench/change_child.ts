/**
 * Changes objects of a real API server at a steady rate and sees when the agent's maps have each change. A process of its
 * own because it runs in the API server's network namespace. Prints one line of JSON. Arguments: kubeconfig, bpffs,
 * `ChangeJob` as JSON.
 */
import process from "node:process";
import { type DataPlaneMaps, openDataPlane } from "../../src/bpf/dataplane.ts";
import { SCOPE } from "../../src/bpf/layout.ts";
import { ApiClient } from "../../src/cluster/kube/client.ts";
import { linesOf } from "../../src/cluster/kube/lines.ts";
import { loadKubeconfig } from "../../src/cluster/kube/kubeconfig.ts";
import { API_NAMESPACE, API_PORT, apiServiceAddress, subsets } from "./api_objects.ts";
import { backendAddress } from "./cluster.ts";

/** What is to be done. */
export interface ChangeJob {
  kind: "endpoints" | "heartbeats";
  /** Changes a second. */
  rate: number;
  count: number;
  /** Tells one job's changes from another's. */
  round: number;
  /** Of the cluster. */
  services: number;
  backends: number;
  nodes: number;
}

/** Times in ms, of each change. */
export interface ChangeFigures {
  /** From sending the request until the map has it. */
  sent: number[];
  /** From the request's answer until the map has it. */
  answered: number[];
  /** The API server's part: from sending the request until a watch of this process has the event. */
  told: number[];
  /** The agent's part: from then until the map has it. Both get the event at about the same time. */
  own: number[];
  /** How long it took to send all. */
  took: number;
}

const TCP = 6;
/** How many that are still missing a look finds before it ends: changes arrive about in the order they were made. */
const MISSES = 8;
/** Changes that the map has not got after this long are missing. */
const PATIENCE_MS = 10_000;
const MERGE = "application/merge-patch+json";

interface Pending {
  key: { addr: string; port: number; proto: number; scope: number };
  wanted: string;
  sent: number;
  answered: number;
  told: number;
}

const [kubeconfig, bpffs, text] = process.argv.slice(2);
const job: ChangeJob = JSON.parse(text!);
const client = new ApiClient(loadKubeconfig(kubeconfig!));
const ending = new AbortController();
const { signal } = ending;
const figures = job.kind === "endpoints" ? await changeEndpoints() : await beat();
client.close();
console.log(JSON.stringify(figures));

/** Sends `job.count` requests, each at its time however long those before it take. */
async function steadily(send: (i: number) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  const requests: Promise<unknown>[] = [];
  for (let i = 0; i < job.count; i++) {
    await pause(Math.max(0, start + i * 1000 / job.rate - performance.now()));
    requests.push(send(i));
  }
  await Promise.all(requests);
  return performance.now() - start;
}

/** Each change gives another service another first backend. */
async function changeEndpoints(): Promise<ChangeFigures> {
  using plane = openDataPlane(bpffs!);
  const pending = new Set<Pending>(), byService = new Map<string, Pending>();
  const figures: ChangeFigures = { sent: [], answered: [], told: [], own: [], took: 0 };
  let sending = true;
  const listening = await listen(byService);
  const looking = look(plane.maps, pending, figures, () => sending);
  figures.took = await steadily(async (i) => {
    const number = (job.round * job.count + i) * 7919 % job.services;
    const wanted = `12.${job.round}.${i >> 8}.${i & 255}`;
    const rest = Array.from({ length: job.backends - 1 }, (_, j) => backendAddress(number, j + 1));
    const body = { subsets: subsets([wanted, ...rest]) };
    const addr = apiServiceAddress(number);
    const key = { addr, port: API_PORT, proto: TCP, scope: SCOPE.CLUSTER };
    const one: Pending = { key, wanted, sent: performance.now(), answered: NaN, told: NaN };
    pending.add(one);
    byService.set(`service-${number}`, one);
    const path = `/api/v1/namespaces/${API_NAMESPACE}/endpoints/service-${number}`;
    await client.json(path, { method: "PATCH", contentType: MERGE, body, signal });
    one.answered = performance.now();
  });
  sending = false;
  await looking;
  await listening.end();
  return figures;
}

/** Follows the endpoints as the agent does, and notes when an event comes. Resolves when the watch has begun. */
async function listen(byService: ReadonlyMap<string, Pending>) {
  const path = "/api/v1/endpoints";
  const { metadata } = await client.json(path, { query: { limit: 1 }, signal });
  const { resourceVersion } = metadata as { resourceVersion: string };
  const query = { watch: 1, resourceVersion };
  const answer = await client.open(path, { query, signal });
  const read = async () => {
    for await (const lines of linesOf(answer.body)) {
      const now = performance.now();
      for (const line of lines) {
        // Not parsed: it shall cost next to nothing beside what is measured.
        const one = byService.get(/"name":"([^"]+)"/.exec(line)?.[1] ?? "");
        if (one && line.includes(`"${one.wanted}"`)) one.told ||= now;
      }
    }
  };
  const running = read().catch((error) => {
    if (!ended) throw error;
  });
  let ended = false;
  return {
    async end() {
      ended = true;
      answer.end();
      await running;
    },
  };
}

/** Looks into the map again and again until nothing is pending and nothing comes any more. */
async function look(
  { services, backends }: DataPlaneMaps,
  pending: Set<Pending>,
  { sent, answered, told, own }: ChangeFigures,
  sending: () => boolean,
): Promise<void> {
  while (sending() || pending.size > 0) {
    let misses = 0;
    for (const one of pending) {
      const entry = services.get(one.key);
      const now = performance.now();
      if (
        entry && backends.range(entry.first, entry.count).some(({ addr }) => addr === one.wanted)
      ) {
        pending.delete(one);
        sent.push(now - one.sent);
        answered.push(now - (one.answered || now)); // an answer may come after the event
        told.push((one.told || now) - one.sent);
        own.push(now - (one.told || now));
      } else if (now - one.sent > PATIENCE_MS) {
        throw new Error(
          `the map has not got ${one.wanted} for ${one.key.addr} in ${PATIENCE_MS} ms`,
        );
      } else if (++misses === MISSES) break;
    }
    await pause(1);
  }
}

/** What kubelets say of themselves when nothing has changed: every five minutes, each. */
async function beat(): Promise<ChangeFigures> {
  const took = await steadily((i) => {
    const lastHeartbeatTime = new Date().toISOString();
    const status = {
      conditions: [{ type: "Ready", status: "True", reason: "KubeletReady", lastHeartbeatTime }],
    };
    const path = `/api/v1/nodes/node-${(job.round * job.count + i) % job.nodes}/status`;
    const contentType = "application/strategic-merge-patch+json";
    return client.json(path, { method: "PATCH", contentType, body: { status }, signal });
  });
  return { sent: [], answered: [], told: [], own: [], took };
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
