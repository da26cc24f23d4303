/**
 * The end of an agent that a DaemonSet runs. An upgrade ends it, and the node must stay as it is; the deletion of the
 * DaemonSet ends it, too, and then the node must be cleaned up. A preStop hook or SIGTERM does not distinguish the two, and
 * afterwards it is too late to ask: `kubectl delete -f` deletes the agent's rights at the same time. So the agent watches its
 * DaemonSet: the API server does not close an open watch when rights are deleted. At the end the agent asks once more; when
 * that is refused, what the watch has seen counts. In doubt the node stays as it is.
 */
import { createLog } from "../src/agent/log.ts";
import { pause } from "../src/cluster/kube/backoff.ts";
import { ApiClient, ApiError } from "../src/cluster/kube/client.ts";
import { linesOf } from "../src/cluster/kube/lines.ts";
import { inCluster } from "../src/cluster/kube/kubeconfig.ts";
import type { AgentConfig } from "../src/config/schema.ts";
import { uninstall } from "./uninstall.ts";

/** Milliseconds: between attempts to watch, a watch's length, and for the question at the end. */
const retryMs = 2000;
const watchMs = 300_000;
const askMs = 3000;

interface RemovalWatch {
  /** Whether the DaemonSet is deleted, or being deleted. */
  wanted(): Promise<boolean>;
  stop(): void;
}

/** Requests that a watch needs; the API client, or a test's. */
type Client = Pick<ApiClient, "json" | "open" | "close">;

/** Watches a DaemonSet of the cluster that this is a pod of. @param daemonSet `namespace/name` */
export function watchRemoval(
  daemonSet: string,
  client: Client = new ApiClient(inCluster()),
): RemovalWatch {
  const [namespace, name] = daemonSet.split("/");
  const path = `/apis/apps/v1/namespaces/${namespace}/daemonsets`;
  const control = new AbortController();
  const seen = { gone: false };
  const watching = keepWatching({ client, path, name: name!, seen, signal: control.signal });
  return {
    async wanted() {
      const asking = new AbortController();
      const timer = setTimeout(() => asking.abort(), askMs);
      try {
        return isGoing(await client.json(`${path}/${name}`, { signal: asking.signal }));
      } catch (error) {
        return seen.gone || error instanceof ApiError && error.status === 404;
      } finally {
        clearTimeout(timer);
      }
    },
    stop() {
      control.abort();
      void watching.finally(() => client.close());
    },
  };
}

interface Watching {
  client: Client;
  path: string;
  name: string;
  seen: { gone: boolean };
  signal: AbortSignal;
}

async function keepWatching(watching: Watching): Promise<void> {
  const { signal } = watching;
  while (!signal.aborted) {
    try {
      await watchOnce(watching);
    } catch {
      // The server is away, or the rights are deleted: what was seen counts.
    }
    await pause(retryMs, signal);
  }
}

async function watchOnce({ client, path, name, seen, signal }: Watching): Promise<void> {
  const query = { fieldSelector: `metadata.name=${name}` };
  const list = await client.json(path, { query, signal }) as List;
  seen.gone = list.items === undefined || list.items.length === 0 || isGoing(list.items[0]!);
  const { resourceVersion } = list.metadata ?? {};
  const rest = { watch: "true", resourceVersion, timeoutSeconds: watchMs / 1000 };
  const answer = await client.open(path, {
    query: { ...query, ...rest },
    signal,
    silenceMs: watchMs + askMs,
  });
  try {
    for await (const lines of linesOf(answer.body)) {
      for (const line of lines) {
        const { type, object } = JSON.parse(line);
        if (type === "ERROR") return;
        seen.gone = type === "DELETED" || isGoing(object);
      }
    }
  } finally {
    answer.end();
  }
}

/** The part of a list that is read. */
interface List {
  metadata?: { resourceVersion?: string };
  items?: Record<string, unknown>[];
}

/** With `--cascade=foreground` it exists until its pods are deleted. */
function isGoing(object: unknown): boolean {
  const { metadata } = object as { metadata?: { deletionTimestamp?: string } };
  return metadata?.deletionTimestamp !== undefined;
}

/** Cleans the node up by the agent's configuration. */
export async function removeWithDaemonSet(config: AgentConfig): Promise<void> {
  const log = createLog(config.logLevel, config.nodeName);
  log.info("the DaemonSet is deleted: pcnk is removed from this node");
  await uninstall({
    bpffs: config.bpffs,
    stateDir: config.stateDir,
    cniConfDir: config.cniConfDir ?? "/etc/cni/net.d",
    bridge: config.bridge,
    device: config.overlay.device,
    executable: Deno.execPath(),
    all: false,
    root: "",
    dryRun: false,
    say: (line) => log.info(line),
  });
}
