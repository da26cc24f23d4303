/** A real API server as the place of the cases in src/cluster/kube/cases_support.ts: what they do goes past the source. */
import type { Access } from "../../../src/cluster/kube/access.ts";
import { ApiClient, ApiError, type RequestOptions } from "../../../src/cluster/kube/client.ts";
import { loadKubeconfig } from "../../../src/cluster/kube/kubeconfig.ts";
import {
  clusterRules,
  eventNamespace,
  eventRules,
  type Rule,
} from "../../../src/cluster/kube/rbac.ts";
import { KubeSource } from "../../../src/cluster/kube/source.ts";
import type { Labels, World } from "../../../src/cluster/kube/cases_support.ts";
import { Recorder } from "../../../src/cluster/test_support.ts";
import type { Kit } from "./kit.ts";
import { Relay } from "./relay.ts";

const account = { name: "pcnk-source-test", namespace: "kube-system" };
const API_PORT = 16443;

/** With all settings that need rights. */
export const ALL_RULES = clusterRules({ sourceCheck: "annotated", podWeights: "labelled" });

/** The API server of a kit, with an administrator's rights. */
export class Admin implements Disposable {
  readonly client: ApiClient;

  constructor(readonly kit: Kit) {
    this.client = new ApiClient(loadKubeconfig(kit.kubeconfig));
  }

  json(path: string, options: Omit<RequestOptions, "signal"> = {}) {
    return this.client.json(path, { signal: AbortSignal.timeout(30_000), ...options });
  }

  /** Creates an object, or replaces it when it is there. */
  async apply(path: string, object: { metadata: { name: string } }) {
    try {
      await this.json(path, { method: "POST", body: object });
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 409)) throw error;
      const contentType = "application/merge-patch+json";
      await this.json(`${path}/${object.metadata.name}`, {
        method: "PATCH",
        body: object,
        contentType,
      });
    }
  }

  async delete(path: string) {
    await this.json(path, { method: "DELETE" });
  }

  /** Gives the account exactly these rights. */
  async grant(rules: readonly Rule[] = ALL_RULES) {
    const { name, namespace } = account;
    const rbac = "/apis/rbac.authorization.k8s.io/v1";
    const group = "rbac.authorization.k8s.io";
    const metadata = { name };
    const subjects = [{ kind: "ServiceAccount", name, namespace }];
    const inNamespace = `${rbac}/namespaces/${eventNamespace}`;
    await this.apply(`/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata });
    await this.apply(`${rbac}/clusterroles`, { metadata, rules } as never);
    await this.apply(
      `${rbac}/clusterrolebindings`,
      { metadata, subjects, roleRef: { apiGroup: group, kind: "ClusterRole", name } } as never,
    );
    await this.apply(`${inNamespace}/roles`, { metadata, rules: eventRules } as never);
    await this.apply(
      `${inNamespace}/rolebindings`,
      { metadata, subjects, roleRef: { apiGroup: group, kind: "Role", name } } as never,
    );
  }

  /** The account's access, through `port` of this machine. */
  async access(port?: number): Promise<Access> {
    const { name, namespace } = account;
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`;
    const body = { spec: { expirationSeconds: 3600 } };
    const { status } = await this.json(path, { method: "POST", body });
    const own = loadKubeconfig(this.kit.kubeconfig);
    return {
      ...own,
      identity: { token: (status as { token: string }).token },
      ...(port === undefined ? {} : { server: `https://127.0.0.1:${port}` }),
    };
  }

  [Symbol.dispose]() {
    this.client.close();
  }
}

const plurals: Record<string, string> = {
  Service: "services",
  Node: "nodes",
  Pod: "pods",
  Endpoints: "endpoints",
};
let count = 0;

/** One source behind a relay. */
export class ApiWorld implements World, AsyncDisposable {
  private readonly run = ++count;

  private constructor(
    private readonly admin: Admin,
    private readonly relay: Relay,
    readonly source: KubeSource,
    readonly sink: Recorder,
  ) {}

  static async open(admin: Admin): Promise<ApiWorld> {
    const relay = new Relay({ hostname: admin.kit.apiServer, port: API_PORT });
    const sink = new Recorder();
    const timing = { backoff: { firstMs: 20, longestMs: 500 }, silenceMs: 2000, goodWatchMs: 500 };
    const source = new KubeSource(await admin.access(relay.port), sink, timing);
    return new ApiWorld(admin, relay, source, sink);
  }

  name(word: string): string {
    return `t${this.run}-${word}`;
  }

  async started() {
    await this.source.start();
  }

  async put(kind: string, name: string, rest: Record<string, unknown>, labels: Labels = {}) {
    const object = { metadata: { name, labels }, ...rest };
    await this.admin.apply(this.path(kind), object);
  }

  async remove(kind: string, name: string) {
    const now = kind === "Pod" ? "?gracePeriodSeconds=0" : "";
    await this.admin.delete(`${this.path(kind)}/${name}${now}`);
  }

  cut() {
    this.relay.cut();
  }

  halfOpen() {
    this.relay.deafen();
  }

  /** A server that starts knows nothing of what was before. */
  async gap(act: () => Promise<void>) {
    await this.relay.close();
    await act();
    await this.admin.kit.crash("kube-apiserver");
    await this.admin.kit.controlPlaneUp();
    this.relay.open();
  }

  lists() {
    return undefined;
  }

  async [Symbol.asyncDispose]() {
    await this.source.closeAndWait();
    await this.relay[Symbol.asyncDispose]();
  }

  private path(kind: string): string {
    const namespaced = kind === "Node" ? "" : "/namespaces/default";
    return `/api/v1${namespaced}/${plurals[kind]}`;
  }
}
