/** Tests that share one cluster: each is a Deno.test of its own, limited in time, and tells what the cluster said. */
import { within } from "../../../src/lab/wait.ts";
import { whyNot } from "./kit.ts";
import { provider } from "./provider.ts";
import { NODES, World } from "./world.ts";

/** Registers a test. `ms`: its limit, default 60 s. */
export type Test = (name: string, fn: (world: World) => Promise<void>, ms?: number) => void;

const skip = whyNot();
let world: World | undefined;

const log = (line: string) => console.error(`  ${line}`);

/** Registers what brings the cluster up and takes it down; returns what registers a test in it. */
export function suite(): Test {
  if (skip !== undefined) console.error(`skipped: ${skip}`);
  else {
    Deno.test.beforeAll(async () => {
      world = await World.create(provider, log);
    });
    Deno.test.afterAll(async () => await world?.close());
  }
  return (name, fn, ms = 60_000) =>
    Deno.test({
      name,
      ignore: skip !== undefined,
      // What a test has started is ended with it; what the cluster has started goes on.
      sanitizeResources: false,
      sanitizeOps: false,
      async fn() {
        try {
          await within(ms, `"${name}" did not end within ${ms / 1000} s`, fn(world!));
        } catch (error) {
          console.error(await report(world!));
          throw error;
        } finally {
          await world!.testEnded();
        }
      },
    });
}

/** What a reader of a failed run wants to see first: the state of nodes and pods, and the last words of all involved. */
async function report({ kit, provider }: World): Promise<string> {
  const objects = await kit.tryKubectl(["get", "nodes,pods", "-A", "-o", "wide"], { ms: 10_000 });
  const parts = [`── objects\n${objects.stdout}${objects.stderr}`, await provider.report(kit)];
  for (const node of NODES) {
    parts.push(`── kubelet of node ${node}\n${kit.logTail("kubelet", 12, node)}`);
    parts.push(`── containerd of node ${node}\n${kit.logTail("containerd", 8, node)}`);
  }
  parts.push(`── kube-apiserver\n${kit.logTail("kube-apiserver", 6)}`);
  return parts.join("\n");
}
