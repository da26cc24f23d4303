/** Where per-node settings are kept, for reading and writing them: annotations of Node objects, or etcd. */
import {
  annotatedSettings,
  etcdKey,
  etcdPrefix,
  nodeSetting,
  type NodeSettingName,
  type NodeSettings,
} from "../model/node_settings.ts";
import { type EtcdAccess, EtcdClient } from "./etcd/client.ts";
import { settingsOf } from "./etcd/settings.ts";
import type { Access } from "./kube/access.ts";
import { ApiClient, ApiError } from "./kube/client.ts";
import type { SettingsByNode } from "./last_good.ts";
import { type Fields, fields, list } from "./reader.ts";

/** Values as they are written, unchecked; undefined takes a setting away. */
export type SettingChanges = Partial<Record<NodeSettingName, string | undefined>>;

export interface NodeStore extends Disposable {
  /** By node; with annotations every node of the cluster, with etcd those that have keys. @throws Error with a message for the user */
  read(signal: AbortSignal): Promise<SettingsByNode>;
  /** @throws Error with a message for the user */
  write(node: string, changes: SettingChanges, signal: AbortSignal): Promise<void>;
}

const pageSize = 500;

/** Annotations, through the API server. */
export class AnnotationStore implements NodeStore {
  readonly #client: ApiClient;

  readonly #access: Access;

  constructor(access: Access) {
    this.#access = access;
    this.#client = new ApiClient(access);
  }

  async read(signal: AbortSignal): Promise<SettingsByNode> {
    const found: SettingsByNode = new Map();
    let next: string | undefined;
    do {
      const query = { limit: pageSize, continue: next };
      const page = await this.#ask("/api/v1/nodes", { query, signal });
      for (const item of list(page.items, ["items"])) {
        const [name, settings] = nodeOf(item);
        found.set(name, settings);
      }
      const { continue: more } = fields(page.metadata, ["metadata"]);
      next = typeof more === "string" && more !== "" ? more : undefined;
    } while (next !== undefined);
    return found;
  }

  async write(node: string, changes: SettingChanges, signal: AbortSignal): Promise<void> {
    const annotations = Object.fromEntries(
      Object.entries(changes).map((
        [name, value],
      ) => [nodeSetting(name as NodeSettingName).annotation, value ?? null]),
    );
    await this.#ask(`/api/v1/nodes/${encodeURIComponent(node)}`, {
      method: "PATCH",
      contentType: "application/merge-patch+json",
      body: { metadata: { annotations } },
      signal,
    });
  }

  [Symbol.dispose]() {
    this.#client.close();
  }

  async #ask(path: string, options: Parameters<ApiClient["json"]>[1]): Promise<Fields> {
    try {
      return await this.#client.json(path, { silenceMs: 10_000, ...options });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      throw new Error(`${this.#access.server} ${error.message}${hint(error)}`);
    }
  }
}

function hint({ status }: ApiError): string {
  if (status === 404) return "; kubectl get nodes lists the nodes";
  if (status === 401) return "; look at the credentials in the kubeconfig";
  if (status === 403) return "; this user needs get, list and patch of nodes";
  return "";
}

function nodeOf(item: unknown): [string, NodeSettings] {
  const metadata = fields(fields(item, ["items"]).metadata, ["items", "metadata"]);
  const annotations = fields(metadata.annotations, ["items", "metadata", "annotations"]);
  return [String(metadata.name), annotatedSettings(annotations)];
}

/** Keys of etcd, as pcn-k8s had them. */
export class EtcdStore implements NodeStore {
  readonly #client: EtcdClient;

  constructor(access: EtcdAccess) {
    this.#client = new EtcdClient(access);
  }

  async read(signal: AbortSignal): Promise<SettingsByNode> {
    return settingsOf((await this.#client.range(etcdPrefix, signal)).items);
  }

  async write(node: string, changes: SettingChanges, signal: AbortSignal): Promise<void> {
    for (const [name, value] of Object.entries(changes)) {
      const key = etcdKey(node, name as NodeSettingName);
      if (value === undefined) await this.#client.delete(key, signal);
      else await this.#client.put(key, value, signal);
    }
  }

  [Symbol.dispose]() {
    this.#client.close();
  }
}
