/** Where requests come from: a pod, a node, the world outside. All of them ask with curl and nc, as people do. */
import assert from "node:assert/strict";
import type { Kit } from "./kit.ts";
import type { Namespace } from "./namespace.ts";
import type { Outside } from "./outside.ts";
import { until } from "./poll.ts";
import type { Said } from "./run.ts";

/** How long a request may take, seconds. */
const REQUEST_S = 3;

/** A place that can ask. */
export class Vantage {
  constructor(
    readonly name: string,
    private readonly run: (command: readonly string[]) => Promise<Said>,
  ) {}

  /** A pod, by `kubectl exec`. */
  static pod(namespace: Namespace, pod: string, kit: Kit): Vantage {
    return new Vantage(`pod ${pod}`, (command) => {
      return kit.tryKubectl(["-n", namespace.name, "exec", pod, "--", ...command]);
    });
  }

  /** A process of a node. */
  static node(index: number, kit: Kit): Vantage {
    return new Vantage(`node ${index}`, (command) => kit.tryInNode(index, command));
  }

  static outside(outside: Outside): Vantage {
    return new Vantage("outside", (command) => outside.try(command));
  }

  /** A GET; the body, or an error with what curl said. `source`: the client's address. */
  async get(host: string, path = "/hostname", source?: string): Promise<string> {
    const said = await this.tryGet(host, path, source);
    if (said.code !== 0) {
      throw new Error(`${this.name}: GET http://${host}${path}: ${said.stderr.trim()}`);
    }
    return said.stdout;
  }

  /** A GET; the caller judges curl's exit code (7: refused, 28: no answer, 22: HTTP status of 400 or more). */
  tryGet(host: string, path = "/hostname", source?: string): Promise<Said> {
    const from = source === undefined ? [] : ["--interface", source];
    const flags = ["-sSf", "--noproxy", "*", "-m", String(REQUEST_S), ...from];
    return this.run(["curl", ...flags, `http://${host}${path}`]);
  }

  /** A datagram with a command of agnhost's; the answer. */
  async udp(host: string, port: number, command = "hostname"): Promise<string> {
    const script = `echo ${command} | nc -u -W 1 -w ${REQUEST_S} ${host} ${port}`;
    const said = await this.run(["sh", "-c", script]);
    if (said.stdout === "") throw new Error(`${this.name}: no answer from UDP ${host}:${port}`);
    return said.stdout.trim();
  }

  /** Asks until every one of `names` has answered; no other may answer. */
  async reachesAll(host: string, names: readonly string[], attempts = 60): Promise<void> {
    await this.#reachesAll(`http://${host}`, () => this.get(host), names, attempts);
  }

  /** The same by UDP. */
  async reachesAllUdp(host: string, port: number, names: readonly string[], attempts = 60) {
    await this.#reachesAll(`UDP ${host}:${port}`, () => this.udp(host, port), names, attempts);
  }

  async #reachesAll(
    what: string,
    ask: () => Promise<string>,
    names: readonly string[],
    attempts: number,
  ): Promise<void> {
    const missing = new Set(names);
    for (let i = 0; i < attempts && missing.size > 0; i++) {
      const name = await ask();
      assert.ok(names.includes(name), `${this.name}: ${what} is answered by ${name}`);
      missing.delete(name);
    }
    assert.deepEqual([...missing], [], `${this.name}: ${what} reaches not all after ${attempts}`);
  }

  /** Waits until a GET is answered; for what a change has to reach first. */
  async eventually(host: string, path = "/hostname", ms = 30_000): Promise<string> {
    return await until(`${this.name}: GET http://${host}${path}`, ms, () => this.get(host, path));
  }
}
