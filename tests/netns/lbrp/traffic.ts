/** Servers and clients of traffic.py in network namespaces. */
import assert from "node:assert/strict";
import type { TestNetns } from "../../support/sandbox.ts";
import type { Proto } from "../support/plane.ts";

export const PYTHON = "/usr/bin/python3";
const SCRIPT = `${import.meta.dirname}/traffic.py`;

/** What a client saw. */
interface Seen {
  ok: boolean;
  error?: string | null;
  /** The client as the server saw it, of a ping the one who answered. */
  peer?: string;
  /** The client as it sees itself. */
  local?: string;
  mtu?: number;
}

export const REFUSED: Seen = { ok: false, error: "ECONNREFUSED" };

/** The exchange went well, and the server saw the client's own address; or this one. */
export function fine(seen: Seen, peer?: string): void {
  assert.deepEqual({ ok: seen.ok, error: seen.error ?? null }, { ok: true, error: null });
  if (peer !== undefined) assert.equal(seen.peer?.split(":")[0], peer);
  else if (seen.local) assert.equal(seen.peer, seen.local);
}

export class Traffic {
  readonly #servers: Deno.ChildProcess[] = [];

  /** Starts a server, of UDP on `count` ports; it is listening when this returns. */
  async serve(host: TestNetns, proto: Proto, port: number, count = 1): Promise<void> {
    const more = count > 1 ? [`${count}`] : [];
    const child = command(host, ["serve", proto, `${port}`, ...more]).spawn();
    this.#servers.push(child);
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    if (!new TextDecoder().decode(value).startsWith("ready")) {
      throw new Error("server has not started");
    }
  }

  /** Runs a client in a namespace. */
  async run(host: TestNetns, ...args: (string | number)[]): Promise<Seen> {
    const { stdout, stderr, success } = await command(host, args.map(String)).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return JSON.parse(new TextDecoder().decode(stdout));
  }

  async end(): Promise<void> {
    for (const server of this.#servers) {
      server.kill("SIGKILL");
      await server.stdout.cancel();
      await server.stderr.cancel();
      await server.status;
    }
  }
}

function command(host: TestNetns, args: string[]): Deno.Command {
  return new Deno.Command("nsenter", {
    args: [`--net=${host.path}`, PYTHON, SCRIPT, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}
