/** Objects of the tests, as a user would write them. */

/** What is in the nodes' image store; see the kit's README. */
const AGNHOST = "localhost/agnhost:1";

type Yaml = Record<string, unknown>;

/** Ports of the server in a web pod: HTTP, and UDP with the command `hostname`. */
export const HTTP = 8080;
const UDP = 8081;

/** How a web server is deployed. */
interface Web {
  name: string;
  replicas: number;
  /** More of a container's fields. */
  container?: Yaml;
  /** More of a pod's fields. */
  pod?: Yaml;
  /** More of the Deployment's. */
  spec?: Yaml;
  /** Changes when the template is to change. */
  version?: string;
}

/**
 * A Deployment whose pods drain as a user's should: not ready before they answer, and after their end is announced they
 * still serve for a while, until every node has taken them out of its tables.
 */
export function web({ name, replicas, container, pod, spec, version = "1" }: Web): Yaml {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      ...spec,
      template: {
        metadata: { labels: { app: name }, annotations: { version } },
        spec: {
          terminationGracePeriodSeconds: 1,
          topologySpreadConstraints: [{
            maxSkew: 1,
            topologyKey: "kubernetes.io/hostname",
            whenUnsatisfiable: "ScheduleAnyway",
            labelSelector: { matchLabels: { app: name } },
          }],
          containers: [{
            name: "web",
            image: AGNHOST,
            imagePullPolicy: "Never",
            args: ["netexec", `--http-port=${HTTP}`, `--udp-port=${UDP}`],
            ports: [{ containerPort: HTTP }],
            readinessProbe: { httpGet: { path: "/", port: HTTP }, periodSeconds: 1 },
            ...container,
          }],
          ...pod,
        },
      },
    },
  };
}

/** Ports of a Service that takes TCP alone; a load balancer's cannot mix protocols. */
export const HTTP_ONLY = [{ name: "http", port: 80, protocol: "TCP", targetPort: HTTP }];

/** A Service of TCP 80 and UDP 81 before the pods of `web`. */
export function service(name: string, spec: Yaml = {}, app = name): Yaml {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: {
      selector: { app },
      ports: [...HTTP_ONLY, { name: "udp", port: 81, protocol: "UDP", targetPort: UDP }],
      ...spec,
    },
  };
}

/** A pod that runs nothing until a command comes, on a node of the caller's choice. */
export function idlePod(name: string, nodeName: string, spec: Yaml = {}): Yaml {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name } },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: "c", image: AGNHOST, imagePullPolicy: "Never", args: ["pause"] }],
      ...spec,
    },
  };
}

/** One pod with a server. */
export function webPod(name: string, nodeName: string, container: Yaml = {}): Yaml {
  return idlePod(name, nodeName, {
    containers: [{
      name: "web",
      image: AGNHOST,
      imagePullPolicy: "Never",
      args: ["netexec", `--http-port=${HTTP}`, `--udp-port=${UDP}`],
      ports: [{ containerPort: HTTP }],
      readinessProbe: { httpGet: { path: "/", port: HTTP }, periodSeconds: 1 },
      ...container,
    }],
  });
}

/** What `kubectl apply -f -` reads: JSON is YAML. */
export function documents(objects: readonly Yaml[]): string {
  return JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
}
