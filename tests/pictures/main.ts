/**
 * `deno task pictures`: the documentation's pictures of pcnk's commands. They run in a lab, on a terminal, and what they write
 * there is what is drawn. Needs root, dist/pcnk and util-linux' script(1).
 *
 *   main.ts [NAME…]         only these, e.g. topology trace
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { BuildError, root } from "../../src/build/steps.ts";
import { type ApiObject, startControlPlane } from "../bench/control_plane.ts";
import { findKit } from "../bench/kit.ts";
import { inLab, LAB, lab, pcnk, Terminal } from "./lab.ts";
import { screenshot, type Shot } from "./screenshot.ts";

const folder = join(root, "docs/pictures");

/** A Service whose selector has a letter too few: the control plane has made a slice for it, with nothing in it. */
const SHOP = `apiVersion: v1
kind: Service
metadata: { name: cart, namespace: shop }
spec:
  clusterIP: 10.96.0.40
  selector: { app: car }
  ports: [{ name: http, protocol: TCP, port: 80, targetPort: 8080 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: cart-x7k2p, namespace: shop, labels: { kubernetes.io/service-name: cart } }
addressType: IPv4
ports: [{ name: http, protocol: TCP, port: 8080 }]
endpoints: []
`;

const shop = (name: string, labels?: Record<string, string>) => ({
  name,
  namespace: "shop",
  labels,
});

/** The same Service in an API server, and the Pods that were meant. */
const SHOP_IN_THE_API: readonly ApiObject[] = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: shop("cart"),
    spec: {
      clusterIP: "10.96.0.40",
      selector: { app: "car" },
      ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: 8080 }],
    },
  },
  ...["cart-6d4f8-b2v9x", "cart-6d4f8-kq7wn"].map((name) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: shop(name, { app: "cart" }),
    spec: { containers: [{ name: "cart", image: "cart" }] },
  })),
];

const CURL = "curl -sS --max-time 2";

interface Picture {
  title: string;
  /** Of the terminal; a wide one is small on a page, so only lines that must not break get more than 108. */
  columns?: number;
  take(terminal: Terminal): Promise<Shot[]>;
}

/** By name; in this order. */
const PICTURES: Record<string, Picture> = {
  status: {
    title: "pcnk status: is this node healthy?",
    take: (terminal) => terminal.shots(["node1", "pcnk status"]),
  },
  get: {
    title: "pcnk get: what the kernel holds",
    take: async (terminal) => {
      await inLab("pod1-1", `${CURL} 10.96.0.10`);
      return await terminal.shots(
        ["node1", "pcnk get services echo nodeport cart"],
        ["node1", "pcnk get backends echo"],
        ["node1", "pcnk get sessions --pod default/pod1-1"],
      );
    },
  },
  describe: {
    title: "pcnk describe: why does this Service refuse connections?",
    take: async (terminal) => [
      await terminal.shot("pod1-1", "curl -sS http://10.96.0.40"),
      await describeCart(terminal),
    ],
  },
  topology: {
    title: "pcnk topology: how does it hang together?",
    take: (terminal) => terminal.shots(["node1", "pcnk topology"]),
  },
  trace: {
    title: "pcnk trace: what would happen to a packet?",
    columns: 136,
    take: (terminal) =>
      terminal.shots(
        ["node1", "pcnk trace default/pod1-1 default/echo-node2"],
        ["node1", "pcnk trace default/pod1-1 198.51.100.10:8080"],
        ["node1", "pcnk trace default/pod1-1 shop/cart"],
        ["node1", "pcnk trace 198.51.100.10 192.168.50.11:30101"],
      ),
  },
  monitor: {
    title: "pcnk monitor: what happens to packets right now?",
    columns: 136,
    take: (terminal) =>
      terminal.watched(
        "pcnk monitor --flows --pod default/pod1-1 --count 24",
        ["pod1-1", `${CURL} 10.96.0.40`],
        ["pod1-1", `${CURL} 10.96.1.2`],
        ["pod1-1", `${CURL} 198.51.100.10:8080`],
      ),
  },
  bench: {
    title: "pcnk bench: how fast is it, and beside what?",
    take: async (terminal) => [{
      prompt: "$",
      command: "pcnk bench --only rr-tcp --peers iptables --runs 2",
      output: await terminal.output(
        `${pcnk} bench --only rr-tcp --peers iptables --runs 2 --name picbench`,
      ),
    }],
  },
  lab: {
    title: "pcnk lab test: who reaches whom?",
    take: async (terminal) => [{
      prompt: "$",
      command: "pcnk lab test",
      output: await terminal.output(`${pcnk} lab test --name ${LAB}`),
    }],
  },
};

/** With an API server where there is one: it has Pods, which manifests do not have. */
async function describeCart(terminal: Terminal): Promise<Shot> {
  const command = "pcnk describe service shop/cart";
  const kit = findKit();
  if (typeof kit === "string") return await terminal.shot("node1", command);
  const dir = `/run/pcnk-lab/${LAB}/api`;
  await using stage = new AsyncDisposableStack();
  const api = await startControlPlane(
    { defer: (undo) => stage.defer(undo), signal: AbortSignal.timeout(120_000) },
    kit,
    { netns: `/run/netns/pcnk-${LAB}-node1`, dir },
  );
  await api.create(SHOP_IN_THE_API);
  return await terminal.shot("node1", `${command} --kubeconfig ${basename(api.kubeconfig)}`, dir);
}

/** Waits until node1's maps have the Service that was put beside the lab's own. */
async function settled(): Promise<void> {
  const end = performance.now() + 10_000;
  const look = `${pcnk} get services cart --no-headers`;
  while (!(await inLab("node1", look)).includes("10.96.0.40")) {
    if (performance.now() > end) throw new BuildError("the agent has not read shop/cart");
  }
}

async function main(names: readonly string[]): Promise<void> {
  const wanted = names.length > 0 ? names : Object.keys(PICTURES);
  const unknown = wanted.find((name) => !Object.hasOwn(PICTURES, name));
  if (unknown) throw new BuildError(`no picture ${unknown}; there are ${Object.keys(PICTURES)}`);
  mkdirSync(folder, { recursive: true });
  await lab("down");
  try {
    await lab("up", "--nodes", "2", "--pods", "2");
    const file = `/run/pcnk-lab/${LAB}/manifests/shop.yaml`;
    writeFileSync(`${file}.new`, SHOP);
    renameSync(`${file}.new`, file);
    await settled();
    for (const name of wanted) {
      const { title, columns = 108, take } = PICTURES[name]!;
      const shots = await take(new Terminal(columns));
      writeFileSync(join(folder, `${name}.svg`), screenshot(title, shots, columns));
      console.log(`  docs/pictures/${name}.svg`);
    }
  } finally {
    await lab("down");
  }
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(`pictures: ${error.message}`);
    Deno.exit(1);
  }
}
