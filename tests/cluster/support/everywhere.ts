/** The same load from everywhere at once: pods of both nodes, a node, the world outside. */
import { assertNoneFailed, type Counted, Load, type LoadTarget } from "./load.ts";
import { NODES, type World } from "./world.ts";

/** What all of them ask. */
interface Destination {
  clusterIP: string;
  nodePort: number;
}

/** Loads on one service; disposing of it ends them. */
export class Everywhere {
  private constructor(private readonly loads: readonly (readonly [string, Load])[]) {}

  /** Starts the loads and waits until each has had an answer. `kept`: HTTP connections that are kept. */
  static async start(world: World, to: Destination, kept = 0): Promise<Everywhere> {
    const inside: LoadTarget = {
      ...{ protocol: "http", address: to.clusterIP, port: 80, rate: 25 },
      kept,
    };
    const outside = { ...inside, address: world.kit.nodeAddress(2), port: to.nodePort };
    await world.client(1).eventually(to.clusterIP);
    await world.outsider.eventually(`${outside.address}:${to.nodePort}`);
    const loads: [string, Load][] = [];
    try {
      for (const node of NODES) {
        const pod = await world.clientPod(node);
        loads.push([`a pod of node ${node}`, await world.loadFromPod(pod, inside)]);
      }
      loads.push(["node 1", await world.loadFromNode(1, inside)]);
      loads.push(["outside", await world.loadFromOutside(outside)]);
      return new Everywhere(loads);
    } catch (error) {
      await new Everywhere(loads)[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Ends the loads: not one request may have failed. Returns what each has counted, by where it came from. */
  async noneFailed(what: string): Promise<Map<string, Counted>> {
    const counted = new Map<string, Counted>();
    for (const [from, load] of this.loads) counted.set(from, await load.end());
    for (const [from, each] of counted) assertNoneFailed(each, 100, `${what}, from ${from}`);
    return counted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [, load] of this.loads) await load[Symbol.asyncDispose]();
  }
}
