/** A Kubernetes namespace of one test, and what a test asks of the objects in it. */
import type { Kit } from "./kit.ts";
import { until } from "./poll.ts";
import { documents } from "./workload.ts";

let count = 0;

/** A pod as far as tests care. */
export interface Pod {
  name: string;
  ip: string;
  node: string;
}

interface RawPod {
  metadata: { name: string; deletionTimestamp?: string };
  spec: { nodeName: string };
  status: { podIP?: string };
}

/** A Kubernetes namespace. */
export class Namespace {
  private constructor(private readonly kit: Kit, readonly name: string) {}

  static async create(kit: Kit): Promise<Namespace> {
    const name = `t${++count}`;
    await kit.kubectl(["create", "namespace", name]);
    // Pods cannot be made before it is there.
    await until("the default service account", 20_000, async () => {
      return (await kit.tryKubectl(["-n", name, "get", "sa", "default"])).code === 0;
    });
    return new Namespace(kit, name);
  }

  kubectl(args: readonly string[], options: { input?: string; ms?: number } = {}) {
    return this.kit.kubectl(["-n", this.name, ...args], options);
  }

  async apply(...objects: Record<string, unknown>[]): Promise<void> {
    await this.kubectl(["apply", "-f", "-"], { input: documents(objects) });
  }

  /** Waits until a Deployment is rolled out. */
  async rolledOut(deployment: string, ms = 90_000): Promise<void> {
    const timeout = `--timeout=${ms / 1000}s`;
    await this.kubectl(["rollout", "status", `deployment/${deployment}`, timeout], {
      ms: ms + 5000,
    });
  }

  /** Waits until pods are ready. */
  async ready(...pods: string[]): Promise<void> {
    const names = pods.map((pod) => `pod/${pod}`);
    await this.kubectl(["wait", "--for=condition=Ready", ...names, "--timeout=60s"], {
      ms: 65_000,
    });
  }

  /** Pods of an app that are not on their way out, by node. */
  async pods(app: string): Promise<Pod[]> {
    const { items } = JSON.parse(
      await this.kubectl(["get", "pods", "-l", `app=${app}`, "-o", "json"]),
    );
    return (items as RawPod[])
      .filter(({ metadata, status }) => !metadata.deletionTimestamp && status.podIP)
      .map(({ metadata, spec, status }) => {
        return { name: metadata.name, ip: status.podIP!, node: spec.nodeName };
      })
      .sort((a, b) => a.node.localeCompare(b.node));
  }

  /** A field of an object, by JSONPath. */
  async field(object: string, path: string): Promise<string> {
    return (await this.kubectl(["get", object, "-o", `jsonpath={${path}}`])).trim();
  }

  clusterIP(service: string): Promise<string> {
    return this.field(`service/${service}`, ".spec.clusterIP");
  }

  /** The NodePort of a service's port. */
  async nodePort(service: string, port = "http"): Promise<number> {
    const path = `.spec.ports[?(@.name=="${port}")].nodePort`;
    return Number(await this.field(`service/${service}`, path));
  }

  /** Removes it without waiting for the end, which takes Kubernetes some seconds. */
  async remove(): Promise<void> {
    await this.kit.kubectl(["delete", "namespace", this.name, "--wait=false"]);
  }
}
