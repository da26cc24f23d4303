/** The labels of a namespace's Pods, asked once: for telling why a selector finds none. The agent itself follows no Pods. */
import type { Access } from "./access.ts";
import { ApiClient } from "./client.ts";

/** Pods that are looked at, at most: a person reads the answer. */
const limit = 500;

/** @throws {ApiError | AccessError} */
export async function labelledPods(access: Access, namespace: string, signal: AbortSignal) {
  const client = new ApiClient(access);
  try {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
    const page = await client.json(path, { query: { limit }, signal });
    const items = (Array.isArray(page.items) ? page.items : []) as PodObject[];
    const pods = items.map(({ metadata, status }) => ({
      labels: metadata?.labels ?? {},
      ready: status?.conditions?.some(({ type, status }) =>
        type === "Ready" && status === "True"
      ) ??
        false,
    }));
    const more = (page.metadata as { continue?: string } | undefined)?.continue;
    return { pods, more: more !== undefined && more !== "" };
  } finally {
    client.close();
  }
}

/** The part of a core/v1 Pod that is read here; the API server sees to its form. */
interface PodObject {
  metadata?: { labels?: Record<string, string> };
  status?: { conditions?: { type: string; status: string }[] };
}
