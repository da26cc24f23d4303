/**
 * A node with pods, made of namespaces:
 *
 *   client 10.1.0.2 ─ veth ─┐
 *   server 10.1.0.3 ─ veth ─┤ bridge pcnk0 10.1.0.1 ─ node ── router ── router ── remote 10.2.0.5
 *   single 10.3.0.2 ─ veth, no bridge ───────────────┘
 *
 * The way between the routers has an MTU of 1300, those at both ends 1500. lbrp is attached as the agent and the plugin do it.
 */
import type { AttachMode } from "../../../src/bpf/attach.ts";
import { SCOPE } from "../../../src/bpf/layout.ts";
import { writeSysctl } from "../../../src/linux/sysctl.ts";
import { Sandbox, type TestNetns } from "../../support/sandbox.ts";
import { EVERYWHERE, Plane, type Proto } from "../support/plane.ts";
import { sharedPlane } from "../support/shared_plane.ts";
import { Traffic } from "./traffic.ts";

export const GATEWAY = "10.1.0.1";
export const REMOTE = "10.2.0.5";
/** MTU of the narrowest hop to the remote pod. */
export const SMALL_MTU = 1300;
/** A namespace with one address, or the node itself. */
export interface Host extends TestNetns {
  readonly addr: string;
  readonly mac: string;
}

/** The whole scene; `await using` takes it away. */
export class TestNode extends Traffic {
  readonly sandbox = new Sandbox();
  readonly self: TestNetns;
  readonly plane: Plane;
  readonly #bridge: number;

  constructor(readonly mode: AttachMode) {
    super();
    try {
      this.self = this.sandbox.netns();
      writeSysctl("net.ipv4.ip_forward", "1", this.self.path);
      this.plane = new Plane(this.sandbox, this.self, mode, sharedPlane);
      this.#bridge = this.plane.bridge(GATEWAY);
    } catch (error) {
      this.sandbox[Symbol.dispose]();
      throw error;
    }
  }

  #address(host: TestNetns, ifindex: number, address: string, prefixLength: number): void {
    host.nl.addAddr({ ifindex, address, prefixLength });
  }

  /** A pod on the bridge. */
  pod(addr: string): Host {
    const netns = this.sandbox.netns();
    const name = `veth${addr.split(".").pop()}`;
    const [outside, inside] = this.sandbox.veth(this.self, netns, name, "eth0");
    this.self.nl.setLink(outside, { master: this.#bridge });
    this.#address(netns, inside, addr, 24);
    netns.nl.addRoute({ destination: EVERYWHERE, gateway: GATEWAY, ifindex: inside });
    const mac = this.plane.endpoint(netns, addr, outside, GATEWAY);
    return { ...netns, addr, mac };
  }

  /** A pod behind a veth of its own, as the ptp plugin makes it. */
  single(addr: string, gateway: string): Host {
    const netns = this.sandbox.netns();
    const [outside, inside] = this.sandbox.veth(this.self, netns, "ptp0", "eth0");
    this.#address(this.self, outside, gateway, 32);
    this.#address(netns, inside, addr, 32);
    const local = { scope: 253, ifindex: inside };
    netns.nl.addRoute({ destination: `${gateway}/32`, ...local });
    netns.nl.addRoute({ destination: EVERYWHERE, gateway, ifindex: inside });
    this.self.nl.addRoute({ destination: `${addr}/32`, scope: 253, ifindex: outside });
    this.plane.attach(outside, "egress", "lbrp_to_pod");
    const mac = this.plane.endpoint(netns, addr, outside, gateway);
    return { ...netns, addr, mac };
  }

  /** A host behind a pod that forwards, e.g. a virtual machine in it. */
  behind(pod: Host, addr: string, gateway: string): TestNetns {
    const netns = this.sandbox.netns();
    const [outside, inside] = this.sandbox.veth(pod, netns, "inner0", "eth0");
    this.#address(pod, outside, gateway, 24);
    this.#address(netns, inside, addr, 24);
    netns.nl.addRoute({ destination: EVERYWHERE, gateway });
    writeSysctl("net.ipv4.ip_forward", "1", pod.path);
    this.self.nl.addRoute({ destination: `${addr}/32`, gateway: pod.addr });
    return netns;
  }

  /** The remote pod, with the routers before it. */
  remote(): Host {
    const near = this.sandbox.netns();
    const far = this.sandbox.netns();
    const pod = this.sandbox.netns();
    const hops = [
      [this.self, near, "uplink", "192.0.2.1", "192.0.2.2"],
      [near, far, "narrow", "192.0.2.5", "192.0.2.6"],
      [far, pod, "downlink", "10.2.0.1", REMOTE],
    ] as const;
    for (const [from, to, name, a, b] of hops) {
      const [outA, outB] = this.sandbox.veth(from, to, name, "eth0");
      const length = name === "downlink" ? 24 : 30;
      this.#address(from, outA, a, length);
      this.#address(to, outB, b, length);
      const mtu = name === "narrow" ? SMALL_MTU : 1500;
      from.nl.setLink(outA, { mtu });
      to.nl.setLink(outB, { mtu });
      from.nl.replaceRoute({
        destination: "10.2.0.0/24",
        ...(to === pod ? { ifindex: outA } : { gateway: b }),
      });
      to.nl.addRoute({ destination: EVERYWHERE, gateway: a });
      writeSysctl("net.ipv4.ip_forward", "1", to.path);
    }
    return { ...pod, addr: REMOTE, mac: "" };
  }

  /** A service with its backends as "10.1.0.3:8080". */
  service(addr: string, port: number, proto: Proto, backends: string[]): void {
    this.plane.serve([{ addr, port, scope: SCOPE.CLUSTER }], proto, backends);
    this.plane.serviceAddress({ addr, scope: SCOPE.CLUSTER });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    this.sandbox[Symbol.dispose]();
  }
}
