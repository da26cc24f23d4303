/**
 * A node for tests of the plugin: a namespace with an installed data plane and a bridge, pods whose veth pairs are made as
 * the bridge or the ptp plugin would. Verbs run in this process, inside the node's namespace: they are synchronous.
 */
import { runCni } from "../../../cni/main.ts";
import { State } from "../../../cni/state.ts";
import { isAttached } from "../../../src/bpf/attach.ts";
import type { DataPlane } from "../../../src/bpf/dataplane.ts";
import type { installDataPlane } from "../../../src/bpf/install.ts";
import { NODE_FLAG } from "../../../src/bpf/layout.ts";
import { listPins } from "../../../src/bpf/pins.ts";
import { progInfo } from "../../../src/bpf/syscall.ts";
import { closeFd, openFile } from "../../../src/linux/libc.ts";
import { withNetns } from "../../../src/linux/netns.ts";
import { RtNetlink } from "../../../src/linux/rtnetlink.ts";
import { Sandbox, type TestNetns } from "../../support/sandbox.ts";
import { sharedPlane } from "../support/shared_plane.ts";

export const GATEWAY = "10.1.0.1";

const SIZES = { services: 100, backends: 100, sessions: 100, endpoints: 100, fragments: 10 };

/** A namespace that a plugin before pcnk has wired. */
export interface WiredPod {
  netns: TestNetns;
  containerID: string;
  ifname: string;
  hostIfindex: number;
  hostName: string;
  mac: string;
  /** What that plugin printed, in the shape of 1.0.0. */
  prevResult: PrevResult;
}

export interface PrevResult {
  cniVersion: string;
  interfaces: { name: string; mac?: string; sandbox?: string }[];
  ips: { address: string; gateway?: string; interface?: number; version?: string }[];
  [key: string]: unknown;
}

/** What came of a call. */
export interface Answer {
  code: number;
  /** Standard output, parsed; undefined when it is empty. */
  // deno-lint-ignore no-explicit-any -- tests look into it
  out: any;
  /** Standard output as it is. */
  text: string;
  /** Standard error, a line each, parsed. */
  log: Record<string, unknown>[];
}

/** One call of the plugin; what is left out has a good value. */
export interface CallOptions {
  env?: Record<string, string | undefined>;
  config?: Record<string, unknown>;
  /** Instead of `config`: all of standard input. */
  stdin?: string | Uint8Array;
}

/** What the plugin changes, in a form that can be compared. */
interface Snapshot {
  endpoints: { addr: string; ifindex: number; mac: string; gateway: string }[];
  /** `index MAC` of pods' devices. */
  devices: string[];
  /** `device: limits, MAC addresses` of the bridge's ports that are not as new. */
  ports: string[];
  /** `device direction mode program` */
  programs: string[];
  /** Names of pinned TCX links. */
  links: string[];
  /** Names of records. */
  attachments: string[];
}

let made = 0;

export class CniWorld {
  readonly sandbox = new Sandbox();
  readonly node: TestNetns;
  readonly dir: string;
  readonly bpffs: string;
  readonly stateDir: string;
  readonly plane: DataPlane;
  readonly bridge: number;

  constructor(options: { attach?: string; install?: typeof installDataPlane } = {}) {
    try {
      this.node = this.sandbox.netns();
      this.dir = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
      this.sandbox.defer(() => Deno.removeSync(this.dir, { recursive: true }));
      this.stateDir = `${this.dir}/state`;
      const { install } = options;
      const bpffs = install ? `${this.sandbox.bpffs()}/node` : "";
      this.plane = (install ?? sharedPlane)({ bpffs, nl: this.node.nl, mapSizes: SIZES });
      this.bpffs = this.plane.bpffs;
      this.sandbox.defer(() => this.plane.close());
      if (!install) {
        const { config } = this.plane.maps;
        config.set(0, { ...config.get(0)!, flags: NODE_FLAG.SOURCE_CHECK });
      }
      this.node.nl.addLink({ kind: "bridge", name: "pcnk0", up: true, forwardDelay: 0 });
      this.bridge = this.node.nl.link("pcnk0")!.index;
      if (options.attach) this.#tellMode(options.attach);
    } catch (error) {
      this.sandbox[Symbol.dispose]();
      throw error;
    }
  }

  /** As the agent does. */
  #tellMode(attach: string): void {
    Deno.mkdirSync(this.stateDir, { mode: 0o700 });
    const text = JSON.stringify({ attach, pid: 1 });
    Deno.writeTextFileSync(`${this.stateDir}/datapath.json`, text);
  }

  /** Wires a pod with a veth pair; `bridged` or, as ptp does it, on its own. */
  pod(address: string, options: { bridged?: boolean; containerID?: string } = {}): WiredPod {
    const { bridged = true, containerID = `pod-${++made}` } = options;
    const netns = this.sandbox.netns();
    const last = Number(address.split(".").at(-1));
    const hostName = `veth${last}`;
    const mac = `02:00:0a:01:00:${last.toString(16).padStart(2, "0")}`;
    const netnsFd = openFile(netns.path);
    try {
      const peer = { name: "eth0", mac, netnsFd };
      const host = bridged ? { master: this.bridge } : {};
      this.node.nl.addLink({ kind: "veth", name: hostName, up: true, ...host, peer });
    } finally {
      closeFd(netnsFd);
    }
    const inside = netns.nl.link("eth0")!;
    netns.nl.setLink(inside.index, { up: true });
    netns.nl.addAddr({ ifindex: inside.index, address, prefixLength: 24 });
    const node = bridged ? [{ name: "pcnk0" }, { name: hostName }] : [{ name: hostName }];
    return {
      netns,
      containerID,
      ifname: "eth0",
      hostIfindex: this.node.nl.link(hostName)!.index,
      hostName,
      mac,
      prevResult: {
        cniVersion: "1.0.0",
        interfaces: [...node, { name: "eth0", mac, sandbox: netns.path }],
        ips: [{ address: `${address}/24`, gateway: GATEWAY, interface: node.length }],
        routes: [{ dst: "0.0.0.0/0" }],
        dns: {},
      },
    };
  }

  /** A configuration as a runtime hands it over. */
  config(more: Record<string, unknown> = {}): Record<string, unknown> {
    const { bpffs, stateDir } = this;
    const own = { type: "pcnk", bpffs, stateDir, logLevel: "debug" };
    return { cniVersion: "1.0.0", name: "net", ...own, ...more };
  }

  /** Calls a verb, for a pod or for none. */
  call(verb: string, pod?: WiredPod, options: CallOptions = {}): Answer {
    const env: Record<string, string | undefined> = {
      CNI_COMMAND: verb,
      ...(pod && {
        CNI_CONTAINERID: pod.containerID,
        CNI_NETNS: pod.netns.path,
        CNI_IFNAME: pod.ifname,
      }),
      ...options.env,
    };
    const prevResult = pod && verb !== "GC" ? { prevResult: pod.prevResult } : {};
    const stdin = options.stdin ??
      JSON.stringify(this.config({ ...prevResult, ...options.config }));
    return this.inside(() => runInProcess(env, stdin));
  }

  /** ADD that must succeed. */
  add(pod: WiredPod, options: CallOptions = {}): Answer {
    const answer = this.call("ADD", pod, options);
    if (answer.code !== 0) throw new Error(`ADD failed: ${JSON.stringify(answer.out)}`);
    return answer;
  }

  /** GC with the pods that are still there. */
  gc(pods: WiredPod[], config: Record<string, unknown> = {}): Answer {
    const valid = pods.map(({ containerID, ifname }) => ({ containerID, ifname }));
    const key = "cni.dev/valid-attachments";
    return this.call("GC", undefined, { config: { cniVersion: "1.1.0", [key]: valid, ...config } });
  }

  /** Runs something in the node's namespace; synchronous only. */
  inside<T>(fn: () => T): T {
    return withNetns(this.node.path, fn);
  }

  /** Runs something with the state locked and a connection in the node's namespace. */
  wired<T>(fn: (parts: { state: State; nl: RtNetlink }) => T): T {
    return this.inside(() => {
      using state = State.open(this.stateDir);
      using nl = RtNetlink.open();
      return fn({ state, nl });
    });
  }

  /** Everything the plugin could have changed: entries, programs, pins, files. Equal texts mean that nothing did. */
  snapshot(): Snapshot {
    const entries = this.plane.maps.endpoints.entries().map(([{ addr }, value]) => ({
      addr,
      ...value,
    }));
    const programs = this.node.nl.links().flatMap(({ index, name }) =>
      (["ingress", "egress"] as const).flatMap((direction) => {
        const hook = { bpffs: this.bpffs, ifindex: index, direction, nl: this.node.nl };
        const found = isAttached(hook);
        return found
          ? [`${name} ${direction} ${found.mode} ${this.programName(found.progId)}`]
          : [];
      })
    );
    return {
      endpoints: entries.sort((a, b) => a.addr < b.addr ? -1 : 1),
      devices: this.plane.maps.pod_devices.entries().map(([{ ifindex }, { mac }]) =>
        `${ifindex} ${mac}`
      ).sort(),
      ports: this.#ports(),
      programs: programs.sort(),
      links: listPins(`${this.bpffs}/link`).sort(),
      attachments: listPins(`${this.stateDir}/attachments`).sort(),
    };
  }

  #ports(): string[] {
    const { nl } = this.node;
    const table = nl.fdb({ master: this.bridge }).filter(({ sticky }) => sticky);
    return nl.links().flatMap(({ index, name, portLimits = [] }) => {
      const macs = table.filter(({ ifindex }) => ifindex === index).map(({ mac }) => mac);
      const words = [...portLimits.filter((limit) => limit !== "blocking"), ...macs];
      return words.length === 0 ? [] : [`${name}: ${words.join(", ")}`];
    }).sort();
  }

  private programName(id: number): string {
    for (const name of ["lbrp_from_pod", "lbrp_to_pod"]) {
      if (progInfo(this.plane.programFd(name)).id === id) return name;
    }
    return "?";
  }

  [Symbol.dispose](): void {
    this.sandbox[Symbol.dispose]();
  }
}

/** Runs the plugin in this process. */
function runInProcess(env: Record<string, string | undefined>, stdin: string | Uint8Array): Answer {
  let rest = typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin;
  let out = "";
  const lines: string[] = [];
  const code = runCni({
    env: (name) => env[name],
    read: (buffer) => {
      const part = rest.subarray(0, buffer.length);
      buffer.set(part);
      rest = rest.subarray(part.length);
      return part.length === 0 ? null : part.length;
    },
    print: (text) => void (out += text),
    log: (line) => void lines.push(line),
  });
  return {
    code,
    out: out === "" ? undefined : JSON.parse(out),
    text: out,
    log: lines.map((line) => JSON.parse(line)),
  };
}
