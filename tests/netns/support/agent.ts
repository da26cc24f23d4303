/** A real `pcnk agent` in a network namespace of its own, with its own bpffs, state directory and manifests. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type DataPlane, openDataPlane } from "../../../src/bpf/dataplane.ts";
import { umount } from "../../../src/linux/mount.ts";
import { createNetns, deleteNetns } from "../../../src/linux/netns.ts";
import { RtNetlink } from "../../../src/linux/rtnetlink.ts";
import { linesOf } from "../../support/lines.ts";
import * as needs from "../../support/needs.ts";
import { pcnk } from "../../support/pcnk.ts";

/** Loading and verifying programs takes a second or ten, by what else the machine does. */
const patienceMs = 60_000;

/** A line of the agent's log. */
type LogLine = { level: string; msg: string } & Record<string, unknown>;

/** A running agent process. */
export class AgentProcess {
  readonly lines: LogLine[] = [];
  /** What it wrote to standard error besides the log. */
  errors = "";
  private waiting: (() => void)[] = [];
  private seen = 0;
  private ended = false;
  readonly exit: Promise<Deno.CommandStatus>;

  constructor(private readonly child: Deno.ChildProcess) {
    const reading = this.read();
    this.exit = reading.then(() => child.status);
  }

  private async read() {
    for await (const line of linesOf(this.child.stderr)) {
      this.take(line);
      this.wake();
    }
    this.ended = true;
    this.wake();
  }

  private take(line: string) {
    if (line.startsWith("{")) this.lines.push(JSON.parse(line));
    else if (line !== "") this.errors += `${line}\n`;
  }

  private wake() {
    for (const wake of this.waiting.splice(0)) wake();
  }

  get pid(): number {
    return this.child.pid;
  }

  /** The next line, after the one returned last, that `matches`. */
  async log(matches: (line: LogLine) => boolean): Promise<LogLine> {
    let late = false;
    const timer = setTimeout(() => (late = true, this.wake()), patienceMs);
    try {
      for (;;) {
        while (this.seen < this.lines.length) {
          const line = this.lines[this.seen++]!;
          if (matches(line)) return line;
        }
        assert.ok(!late && !this.ended, `not in the log: ${matches}\n${this.transcript()}`);
        await new Promise<void>((wake) => this.waiting.push(wake));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves when the maps were brought up to date once more, by a round that wrote something or a full one. */
  updated(): Promise<LogLine> {
    return this.log(({ msg }) => msg === "maps are up to date");
  }

  /** Skips everything logged so far. */
  skip() {
    this.seen = this.lines.length;
  }

  transcript(): string {
    return this.lines.map((line) => JSON.stringify(line)).join("\n") + "\n" + this.errors;
  }

  /** Sends a signal and waits for the end. */
  async end(signal: Deno.Signal): Promise<Deno.CommandStatus> {
    try {
      this.child.kill(signal);
    } catch {
      // It has ended already.
    }
    return await this.exit;
  }
}

let count = 0;

/** Where agents run. Everything is undone by `close()`. */
export class AgentPlace {
  readonly name = `pcnk-t-a${Deno.pid}-${count++}`;
  readonly netns: string;
  readonly dir: string;
  readonly bpffs: string;
  readonly stateDir: string;
  readonly manifests: string;
  /** Flags that say where objects come from. */
  source: readonly string[];
  /** A command, with its arguments, that runs the agent. */
  wrapper: readonly string[] = [];
  private readonly agents: AgentProcess[] = [];

  constructor() {
    this.dir = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
    this.bpffs = join(this.dir, "bpf");
    this.stateDir = join(this.dir, "state");
    this.manifests = join(this.dir, "manifests");
    Deno.mkdirSync(this.manifests);
    this.source = ["--manifests", this.manifests];
    this.netns = createNetns(this.name);
  }

  /** Starts an agent without waiting for anything. */
  spawn(...flags: string[]): AgentProcess {
    const { bpffs, stateDir, netns } = this;
    const args = [`--net=${netns}`, ...this.wrapper, ...pcnk];
    const child = new Deno.Command("nsenter", {
      args: [
        ...args,
        "agent",
        ...this.source,
        ...["--bpffs", bpffs, "--state-dir", stateDir],
        ...["--node-name", "node1", "--log-level", "debug"],
        // Not the cgroup of the whole machine.
        ...(flags.includes("--cgroup") ? flags : ["--socket-lb", "off", ...flags]),
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const agent = new AgentProcess(child);
    this.agents.push(agent);
    return agent;
  }

  /** Starts an agent and waits until it is ready. */
  async start(...flags: string[]): Promise<AgentProcess> {
    const agent = this.spawn(...flags);
    await agent.log(({ msg }) => msg === "ready");
    return agent;
  }

  /** A connection in the namespace. */
  netlink(): RtNetlink {
    return RtNetlink.open(this.netns);
  }

  /** The data plane that an agent has installed; the caller closes it. */
  dataPlane(): DataPlane {
    return openDataPlane(this.bpffs);
  }

  /** Puts a manifest into place, whole. */
  write(file: string, text: string) {
    Deno.writeTextFileSync(join(this.manifests, `.${file}`), text);
    Deno.renameSync(join(this.manifests, `.${file}`), join(this.manifests, file));
  }

  remove(file: string) {
    Deno.removeSync(join(this.manifests, file));
  }

  /** What clients meet: `10.96.0.1:80/6` and its backends, in order. */
  services(): Record<string, string[]> {
    using dataPlane = this.dataPlane();
    const { services, backends } = dataPlane.maps;
    const found = services.entries().map(([key, { first, count }]): [string, string[]] => [
      `${key.addr}:${key.port}/${key.proto}`,
      count === 0 ? [] : backends.range(first, count).map(({ addr, port }) => `${addr}:${port}`),
    ]);
    return Object.fromEntries(found.sort(([a], [b]) => a < b ? -1 : 1));
  }

  async close() {
    for (const agent of this.agents) await agent.end("SIGKILL");
    umount(this.bpffs, { lazy: true });
    deleteNetns(this.name);
    Deno.removeSync(this.dir, { recursive: true });
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A test around a place for agents; `skip` for what this machine cannot do. */
export function test(name: string, fn: (place: AgentPlace) => Promise<void>, skip = false): void {
  Deno.test({
    name,
    ignore: !needs.root() || !needs.file("dist/artifacts/lbrp.bpf.o") || skip,
    fn: async () => {
      await using place = new AgentPlace();
      await fn(place);
    },
  });
}

/** A Service with one port, named http, and a slice with its endpoints. */
export function serviceYaml(
  name: string,
  clusterIP: string,
  endpoints: string[],
  protocol = "TCP",
) {
  return `apiVersion: v1
kind: Service
metadata:
  name: ${name}
spec:
  clusterIP: ${clusterIP}
  ports:
  - name: http
    port: 80
    protocol: ${protocol}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: ${name}-1
  labels:
    kubernetes.io/service-name: ${name}
addressType: IPv4
ports:
- name: http
  port: 8080
  protocol: ${protocol}
endpoints:${endpoints.length === 0 ? " []" : ""}
${endpoints.map((address) => `- addresses: [${address}]\n`).join("")}`;
}
