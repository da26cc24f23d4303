/** The agent and the API server fail, go and come; traffic does not notice. */
import assert from "node:assert/strict";
import { Everywhere } from "../support/everywhere.ts";
import {
  agentPid,
  buildImage,
  health,
  IMAGE,
  install,
  logs,
  NAME,
  NAMESPACE,
  restarts,
  rolledOut,
} from "../support/pcnk.ts";
import { until } from "../support/poll.ts";
import type { Test } from "../support/suite.ts";
import { HTTP, service, webPod } from "../support/workload.ts";
import { NODES, type World } from "../support/world.ts";

/** How long the API server is away, ms. */
const OUTAGE_MS = 60_000;

export function agent(test: Test): void {
  test(
    "the API server is away for a minute: traffic goes on, the agent says so and recovers",
    async (world) => {
      const { kit } = world;
      const ns = await world.namespace();
      await ns.apply(webPod("revived", kit.nodeName(1)), service("revived"));
      await ns.ready("revived");
      const restarted = await Promise.all(NODES.map((node) => restarts(kit, node)));
      await allWell(world);
      await using load = await Everywhere.start(world, base(world), 3);
      const began = performance.now();
      // With it the one that would hold the kubelets' silence against them: when the API server is back and it has its word
      // before they have theirs, it calls every pod unready, and no service has a backend.
      await kit.crash("kube-apiserver", "kube-controller-manager");
      try {
        for (const node of NODES) {
          await until(`the agent of node ${node} tells`, OUTAGE_MS, async () => {
            return (await health(kit, node)).status === 503;
          });
        }
        // A pod whose sandbox dies is made anew by kubelet alone; the plugin asks neither agent nor API server.
        await reviveSandbox(world, "revived");
        const rest = OUTAGE_MS - (performance.now() - began);
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, rest)));
      } finally {
        await kit.controlPlaneUp();
      }
      await kit.timed("the agents are well again", () => allWell(world));
      await ns.apply(webPod("later", kit.nodeName(2)), service("later"));
      // kubelet takes its time: it has been refused for a minute.
      await kit.timed("kubelet starts pods again", () => ns.ready("later"));
      const later = await ns.clusterIP("later");
      for (const node of NODES) await world.client(node).eventually(later);
      await load.noneFailed("the API server away");
      assert.deepEqual(await Promise.all(NODES.map((node) => restarts(kit, node))), restarted);
    },
    240_000,
  );

  test("the agent is killed under load: no request fails, and it comes back", async (world) => {
    const { kit } = world;
    const before = await Promise.all(NODES.map((node) => restarts(kit, node)));
    await using load = await Everywhere.start(world, base(world), 3);
    for (const node of NODES) {
      await kit.inNode(node, ["kill", "-9", String(await agentPid(kit, node))]);
    }
    for (const [i, node] of NODES.entries()) {
      await until(`the agent of node ${node} was started anew`, 60_000, async () => {
        return await restarts(kit, node) > before[i]! && (await health(kit, node)).status === 200;
      });
    }
    await load.noneFailed("the agent killed");
    await takesPart(world);
  }, 500_000);

  test(
    "the agent has the rights of the manifest: four capabilities, a filter of system calls",
    async (world) => {
      const { kit } = world;
      const proc = `/proc/${await agentPid(kit, 1)}`;
      const status = await kit.inNode(1, ["cat", `${proc}/status`]);
      // DAC_OVERRIDE, NET_ADMIN, NET_RAW, SYS_ADMIN (capabilities(7)).
      for (const set of ["CapPrm", "CapEff", "CapBnd"]) {
        assert.match(status, new RegExp(`^${set}:\\s+0000000000203002$`, "m"));
      }
      assert.match(status, /^Seccomp:\s+2$/m);
      const mounts = await kit.inNode(1, ["cut", "-d ", "-f5,6", `${proc}/mountinfo`]);
      assert.match(mounts, /^\/ ro/m);
      const below = mounts.match(/^\/run\/\S*/gm);
      assert.deepEqual(
        below?.sort(),
        ["/run/pcnk", "/run/pcnk-cgroup2"],
        "no socket of the runtime",
      );
    },
    30_000,
  );

  test(
    "a node's bpffs is unmounted under load: no request fails, and pods start",
    async (world) => {
      const { kit } = world;
      const ns = await world.namespace();
      await using load = await Everywhere.start(world, base(world), 3);
      // In the node's mount namespace, which the agent's container does not see.
      await kit.inNode(1, ["umount", "/sys/fs/bpf"]);
      const pin = "/sys/fs/bpf/pcnk/prog/lbrp_from_pod";
      await until("the node has the pins again", 30_000, async () => {
        return (await kit.tryInNode(1, ["test", "-e", pin])).code === 0;
      });
      await ns.apply(webPod("pinned", kit.nodeName(1)), service("pinned"));
      await ns.ready("pinned");
      await world.client(1).eventually(await ns.clusterIP("pinned"));
      await load.noneFailed("the bpffs unmounted");
      await allWell(world);
    },
    300_000,
  );

  test("pods start and are served while no agent runs on their node", async (world) => {
    const { kit } = world;
    const ns = await world.namespace();
    await nodeSelector(world, { "kubernetes.io/hostname": kit.nodeName(1) });
    try {
      await until("no agent runs on node 2", 60_000, async () => {
        return (await kit.tryInNode(2, ["pgrep", "-f", "^[^ ]*pcnk agent"])).code === 1;
      });
      await ns.apply(webPod("orphan", kit.nodeName(2)));
      await ns.ready("orphan");
      const [pod] = await ns.pods("orphan");
      for (const node of NODES) {
        assert.equal(await world.client(node).get(`${pod!.ip}:${HTTP}`), "orphan");
      }
      const get = [
        "exec",
        "orphan",
        "--",
        "curl",
        "-sSf",
        "-m",
        "3",
        `http://${world.webIP}/hostname`,
      ];
      assert.ok(world.webNames.includes(await ns.kubectl(get)));
    } finally {
      await nodeSelector(world, null);
      await rolledOut(kit);
    }
  }, 500_000);

  test("the agent is upgraded by a roll-out under load without a lost request", async (world) => {
    const { kit } = world;
    const next = `${IMAGE}-next`;
    const image = await buildImage(kit, next);
    for (const node of NODES) await kit.importImage(node, image);
    await using load = await Everywhere.start(world, base(world), 3);
    try {
      const digest = Deno.readTextFileSync(image.replace(/\.tar$/, ".digest")).trim();
      await install(kit, { image: `localhost/pcnk@${digest}` });
      await load.noneFailed("the agent upgraded");
      await takesPart(world);
    } finally {
      await install(kit);
    }
  }, 500_000);

  test("the agent asks the API server for nothing that its role does not allow", async ({ kit }) => {
    const account = `system:serviceaccount:${NAMESPACE}:${NAME}`;
    const can = async (...words: string[]) => {
      const said = await kit.tryKubectl(["auth", "can-i", ...words, `--as=${account}`]);
      return said.stdout.trim();
    };
    // The role is in force: a bound cluster-admin would make the rest of this test meaningless.
    assert.equal(await can("list", "services", "-A"), "yes");
    for (const words of [["get", "secrets"], ["create", "pods"], ["delete", "nodes"]]) {
      assert.equal(await can(...words, "-A"), "no", words.join(" "));
    }
    assert.doesNotMatch(await logs(kit), /forbidden|\b403\b/i);
  });
}

async function allWell({ kit }: World): Promise<void> {
  for (const node of NODES) {
    await until(`the agent of node ${node} is well`, 60_000, async () => {
      return (await health(kit, node)).status === 200;
    });
  }
}

const base = ({ webIP, webPort }: World) => ({ clusterIP: webIP, nodePort: webPort.http });

/** A change of the cluster reaches every node: its agent takes part again. */
async function takesPart(world: World): Promise<void> {
  const ns = await world.namespace();
  await ns.apply(webPod("news", world.kit.nodeName(2)), service("news"));
  await ns.ready("news");
  const ip = await ns.clusterIP("news");
  for (const node of NODES) {
    assert.equal(await world.client(node).eventually(ip), "news");
    assert.equal(await world.node(node).eventually(ip), "news");
  }
}

/** Where the DaemonSet's pods run; null: everywhere. */
async function nodeSelector({ kit }: World, selector: Record<string, string> | null) {
  const patch = JSON.stringify([{
    op: "add",
    path: "/spec/template/spec/nodeSelector",
    value: selector ?? {},
  }]);
  const words = ["patch", "daemonset", NAME, "--type=json", "-p", patch];
  await kit.kubectl(["-n", NAMESPACE, ...words]);
}

/** Kills a pod's sandbox on node 1 and waits for the next one to serve. */
async function reviveSandbox({ kit }: World, pod: string): Promise<void> {
  const find = async () => {
    const filter = [
      `labels."io.kubernetes.pod.name"==${pod}`,
      `labels."io.cri-containerd.kind"==sandbox`,
    ];
    const list = ["ctr", "-n", "k8s.io", "containers", "list", "-q", filter.join(",")];
    return (await kit.inNode(1, list)).trim().split("\n").filter((id) => id !== "");
  };
  const [old] = await find();
  if (!old) throw new Error(`no sandbox of ${pod}`);
  await kit.inNode(1, ["ctr", "-n", "k8s.io", "task", "kill", "-s", "SIGKILL", old]);
  await until("kubelet makes the sandbox anew", 40_000, async () => {
    return (await find()).some((id) => id !== old);
  });
}
