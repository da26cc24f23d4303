/**
 * A node with hostlb and two pods, made of namespaces:
 *
 *   processes of the node ─ 192.0.2.1 ─ node ─┬─ veth ─ pod a 10.1.0.2
 *                                             └─ veth ─ pod b 10.1.0.3
 *
 * Nothing translates packets here: what reaches a pod was addressed to it at the socket. In both pods a server listens on
 * port 8080 of TCP and UDP. There is no default route, so what is not translated gets ENETUNREACH.
 */
import { installHostlb, removeHostlb, type SocketLb } from "../../../src/bpf/hostlb.ts";
import { endStaleUdpSockets } from "../../../src/bpf/hostlb_sockets.ts";
import {
  HOSTLB_EVENTS,
  hostlbMaps,
  NODE_ADDR_FLAG,
  SCOPE,
  type Service,
} from "../../../src/bpf/layout.ts";
import { type MapOf, openMap } from "../../../src/bpf/map.ts";
import { mapPin } from "../../../src/bpf/pins.ts";
import { objGet } from "../../../src/bpf/syscall.ts";
import { SockDiag } from "../../../src/linux/sock_diag.ts";
import { writeSysctl } from "../../../src/linux/sysctl.ts";
import { testCgroup } from "../../support/cgroup.ts";
import { linesOf } from "../../support/lines.ts";
import { Sandbox, type TestNetns } from "../../support/sandbox.ts";
import { EVERYWHERE, NUMBER, Plane, type Proto } from "../support/plane.ts";
import { sharedPlane } from "../support/shared_plane.ts";

export const PYTHON = "/usr/bin/python3";
const SCRIPT = `${import.meta.dirname}/sockets.py`;

/** An address of the node, and one of another node. */
export const NODE = "192.0.2.1";
export const OTHER_NODE = "192.0.2.2";
export const A = "10.1.0.2";
export const B = "10.1.0.3";
/** What the servers listen on. */
export const PORT = 8080;

export const GATEWAY = "10.1.0.1";
const LINK = 253; // scope of a route without a gateway

/** What a call of sockets.py gives. */
type Answer = { ok?: unknown; error?: string };

/** A process that calls functions of sockets.py. */
export class Driver {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  constructor(command: Deno.Command) {
    this.#child = command.spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout);
  }

  /** Calls a function of sockets.py: its result, or the name of its error. */
  async try(...call: (string | number)[]): Promise<Answer> {
    await this.#writer.write(new TextEncoder().encode(JSON.stringify(call) + "\n"));
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the process has ended");
    return JSON.parse(value);
  }

  /** The same; an error is thrown. */
  // deno-lint-ignore no-explicit-any
  async call(...call: (string | number)[]): Promise<any> {
    const { ok, error } = await this.try(...call);
    if (error) throw new Error(`${call.join(" ")}: ${error}`);
    return ok;
  }

  /** Sends from socket `s` (to an address, when one is given) and waits for the answer. */
  async ask(s: number, data: string, ...to: [] | [addr: string, port: number]): Promise<Reply> {
    await this.call(to.length ? "sendto" : "send", s, data, ...to);
    return reply(await this.call("recv", s));
  }

  async end(): Promise<void> {
    await this.#writer.close();
    await this.#lines.return?.();
    await this.#child.status;
  }
}

/** An answer of a server. */
export interface Reply {
  /** The server, "a" or "b". */
  server: string;
  /** The client as the server sees it. */
  client: string;
  /** What came back of what was sent. */
  data: string;
  /** The sender as the client sees it; of TCP undefined. */
  from?: string;
}

function reply({ data, from }: { data: string; from: string | null }): Reply {
  const [server = "", client = "", ...rest] = data.split(" ");
  return { server, client, data: rest.join(" "), from: from ?? undefined };
}

export class HostNode {
  readonly sandbox = new Sandbox();
  readonly self: TestNetns;
  readonly cgroup: string;
  readonly plane: Plane;
  readonly pods: Readonly<Record<"a" | "b", TestNetns>>;
  readonly #children: { end(): Promise<void> }[] = [];

  private constructor() {
    try {
      this.self = this.sandbox.netns();
      writeSysctl("net.ipv4.ip_forward", "1", this.self.path);
      this.cgroup = testCgroup(this.sandbox);
      this.plane = new Plane(this.sandbox, this.self, "auto", sharedPlane);
      this.self.nl.addAddr({ ifindex: 1, address: NODE, prefixLength: 32 });
      this.pods = { a: this.#pod(A), b: this.#pod(B) };
    } catch (error) {
      this.sandbox[Symbol.dispose]();
      throw error;
    }
  }

  /** Builds the scene; `socketLb` left out: without hostlb. */
  static async create(socketLb?: SocketLb): Promise<HostNode> {
    const node = new HostNode();
    try {
      if (socketLb) node.install(socketLb);
      await Promise.all([node.serve(node.pods.a, "a"), node.serve(node.pods.b, "b")]);
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  get bpffs(): string {
    return this.plane.bpffs;
  }

  get maps() {
    return this.plane.maps;
  }

  install(socketLb: SocketLb): void {
    const { bpffs, cgroup, self: { path: netns } } = this;
    installHostlb({ bpffs, cgroup, netns, socketLb });
    const { node_addrs } = this.maps;
    node_addrs.set({ addr: NODE }, { flags: NODE_ADDR_FLAG.LOCAL });
    node_addrs.set({ addr: OTHER_NODE }, { flags: 0 });
  }

  remove = (): boolean => removeHostlb(this.bpffs);

  #pod(addr: string): TestNetns {
    const pod = this.sandbox.netns();
    const [outside, inside] = this.sandbox.veth(this.self, pod, `v${addr.split(".").pop()}`);
    this.self.nl.addAddr({ ifindex: outside, address: GATEWAY, prefixLength: 32 });
    this.self.nl.addRoute({ destination: `${addr}/32`, scope: LINK, ifindex: outside });
    pod.nl.addAddr({ ifindex: inside, address: addr, prefixLength: 32 });
    pod.nl.addRoute({ destination: `${GATEWAY}/32`, scope: LINK, ifindex: inside });
    pod.nl.addRoute({ destination: EVERYWHERE, gateway: GATEWAY, ifindex: inside });
    return pod;
  }

  /** Starts a server on PORT, outside the cgroup; it is listening when this returns. */
  async serve(netns: TestNetns, name: string): Promise<void> {
    const child = command(netns, undefined, ["serve", name, `${PORT}`]).spawn();
    const reader: AsyncIterator<string> = linesOf(child.stdout);
    this.#children.push({
      async end() {
        child.kill("SIGKILL");
        await child.stdin.close();
        await reader.return?.();
        await child.status;
      },
    });
    if ((await reader.next()).value !== "ready") throw new Error("the server has not started");
  }

  /** Starts a process of the node, in the cgroup; or elsewhere. */
  process({ netns = this.self, cgroup = true } = {}): Driver {
    const driver = new Driver(command(netns, cgroup ? this.cgroup : undefined, ["drive"]));
    this.#children.push(driver);
    return driver;
  }

  /** A service with its backends as "10.1.0.2:8080"; again with other ones: it changes. Address 0.0.0.0: a NodePort. */
  service(
    proto: Proto,
    addr: string,
    port: number,
    backends: string[],
    change: Partial<Service> = {},
  ): void {
    this.plane.serve([{ addr, port, scope: SCOPE.CLUSTER }], proto, backends, change);
    if (addr !== "0.0.0.0") this.plane.serviceAddress({ addr, scope: SCOPE.CLUSTER });
  }

  removeService(proto: Proto, addr: string, port: number): void {
    const { services } = this.maps;
    services.delete({ addr, port, proto: NUMBER[proto], scope: SCOPE.CLUSTER });
  }

  /** Opens one of hostlb's maps. */
  map<N extends keyof typeof hostlbMaps>(name: N): MapOf<typeof hostlbMaps[N]> {
    const descriptor: Parameters<typeof openMap>[1] = hostlbMaps[name];
    return openMap(objGet(mapPin(this.bpffs, name)), descriptor) as MapOf<typeof hostlbMaps[N]>;
  }

  /** Ends sockets of the namespace whose backend is gone. */
  endStale(netns: TestNetns = this.self): number {
    using diag = SockDiag.open(netns.path);
    using connections = this.map("hostlb_connections");
    const { services, backends } = this.maps;
    return endStaleUdpSockets(diag, { services, backends, connections });
  }

  counter(name: typeof HOSTLB_EVENTS[number]["name"]): number {
    using map = this.map("hostlb_counters");
    const [cpus = []] = map.range(HOSTLB_EVENTS.findIndex((event) => event.name === name), 1);
    return Number(cpus.reduce((sum, value) => sum + value, 0n));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await child.end();
    this.remove();
    this.sandbox[Symbol.dispose]();
  }
}

/** Runs sockets.py in a network namespace and, by its own first act, in a cgroup. */
function command(netns: TestNetns, cgroup: string | undefined, args: string[]): Deno.Command {
  const enter = cgroup ? `echo $$ >"${cgroup}/cgroup.procs" && ` : "";
  const shell = `${enter}exec "$0" "$@"`;
  return new Deno.Command("sh", {
    args: ["-c", shell, "nsenter", `--net=${netns.path}`, PYTHON, SCRIPT, ...args],
    stdin: "piped",
    stdout: "piped",
  });
}
