/**
 * The world outside the cluster: a network namespace on the nodes' wire, with an address there and another one behind a
 * router, as a client of the Internet has. A server in it tells callers which address it sees them with.
 */
import { join } from "node:path";
import { endProcess, netnsKey, processesIn } from "../../../src/lab/process.ts";
import { createNetns, deleteNetns, netnsPath } from "../../../src/linux/netns.ts";
import type { Place } from "./place.ts";
import { until } from "./poll.ts";
import { run, type Said } from "./run.ts";

/** RFC 5737's TEST-NET-3: documentation addresses. */
const FAR = "203.0.113.10";
const PORT = 8080;

/** The world outside. Made after the nodes' bridge. */
/** What of the kit it needs. */
interface Ground {
  place: Place;
  bridge: string;
  inNode(node: number, command: string[]): Promise<unknown>;
}

export class Outside {
  /** Its address on the nodes' wire. */
  readonly near: string;
  /** Its address behind the router; nodes reach it through `near`. */
  readonly far = FAR;
  readonly port = PORT;
  readonly #name: string;
  #server?: Deno.ChildProcess;

  private constructor(private readonly kit: Ground) {
    this.near = `${kit.place.net}.200`;
    this.#name = `${kit.place.prefix}out`;
  }

  static async create(kit: Ground): Promise<Outside> {
    const outside = new Outside(kit);
    try {
      await outside.#build();
      await outside.#serve();
      return outside;
    } catch (error) {
      await outside.close();
      throw error;
    }
  }

  /** Takes it away, also what a killed run has left. */
  static async remove(kit: Ground): Promise<void> {
    const name = `${kit.place.prefix}out`;
    const key = netnsKey(netnsPath(name));
    if (key !== undefined) {
      await Promise.all(processesIn(new Set([key])).map((id) => endProcess(id, 0)));
    }
    // By name: a node that was started after it holds a copy of the namespace's mount, so its links live on.
    await run(["ip", "link", "del", wireName(kit)], { ms: 10_000, anyCode: true });
    deleteNetns(name);
  }

  /** A node learns the way to `far`: part of its machine's network, no matter of the provider. */
  async teach(node: number): Promise<void> {
    const route = ["ip", "route", "replace", `${this.far}/32`, "via", this.near];
    await this.kit.inNode(node, route);
  }

  /** Sends what goes to `address` to a node, as the network before a cluster does. */
  async route(address: string, node: string): Promise<void> {
    await run(this.command(["ip", "route", "replace", address, "via", node]), { ms: 10_000 });
  }

  /** Words that run `command` out here. */
  command(command: readonly string[]): string[] {
    return ["nsenter", `--net=${netnsPath(this.#name)}`, "--", ...command];
  }

  /** Runs a command out here; the caller judges the exit code. */
  try(command: readonly string[], ms = 20_000): Promise<Said> {
    return run(this.command(command), { ms, anyCode: true });
  }

  /** Starts a command out here that goes on. */
  spawn(command: readonly string[]): Deno.ChildProcess {
    const [program, ...args] = this.command(command);
    const piped = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
    return new Deno.Command(program!, { args, ...piped }).spawn();
  }

  async close(): Promise<void> {
    await Outside.remove(this.kit);
    await this.#server?.status;
  }

  async #build(): Promise<void> {
    const { net } = this.kit.place;
    const wire = wireName(this.kit);
    createNetns(this.#name);
    const inside = ["ip", "-n", this.#name];
    const peer = ["peer", "name", "eth0", "netns", this.#name];
    for (
      const words of [
        ["ip", "link", "add", wire, "type", "veth", ...peer],
        ["ip", "link", "set", wire, "master", this.kit.bridge, "up"],
        [...inside, "link", "set", "lo", "up"],
        [...inside, "addr", "add", `${this.near}/24`, "dev", "eth0"],
        [...inside, "addr", "add", `${this.far}/32`, "dev", "lo"],
        [...inside, "link", "set", "eth0", "up"],
        [...inside, "route", "add", "default", "via", `${net}.1`],
      ]
    ) await run(words, { ms: 10_000 });
  }

  async #serve(): Promise<void> {
    const agnhost = join(this.kit.place.dir, "bin/agnhost");
    const [program, ...args] = this.command([agnhost, "netexec", `--http-port=${PORT}`]);
    const none = { stdin: "null", stdout: "null", stderr: "null" } as const;
    this.#server = new Deno.Command(program!, { args, ...none }).spawn();
    await until("the outside server answers", 10_000, async () => {
      return (await this.try(["curl", "-sf", `http://${this.near}:${PORT}/`])).code === 0;
    });
  }
}

const wireName = (kit: Ground) => `${kit.place.prefix}vo`;
