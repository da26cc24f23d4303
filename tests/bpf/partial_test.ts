/**
 * Checksums that a pod leaves to a device, at each byte: BPF_PROG_TEST_RUN has no such packets, so they come by a veth pair.
 * It rests on what two helpers do, and runs on each kernel of tests/vm.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { attach } from "../../src/bpf/attach.ts";
import { csumTold } from "../../src/bpf/csum_told.ts";
import { NODE_FLAG } from "../../src/bpf/layout.ts";
import { reasonIndex, reasons } from "../../src/bpf/reasons.ts";
import { type Csum, csumAttacks, csumTwins } from "../attack/partial.ts";
import type { Make, Scene } from "../attack/frames.ts";
import * as needs from "../support/needs.ts";
import { Sandbox } from "../support/sandbox.ts";
import { pattern } from "./support/packet.ts";
import { World } from "./support/world.ts";

const PYTHON = "/usr/bin/python3";
const script = fileURLToPath(new URL("../attack/frames.py", import.meta.url));

/** A pod's device with lbrp, and what becomes of what it sends. */
class PodLink implements Disposable {
  readonly #sandbox = new Sandbox();
  readonly #world = new World();
  readonly #pod = this.#sandbox.netns();
  readonly scene: Scene;

  constructor() {
    const node = this.#sandbox.netns();
    this.#quiet();
    const [, ifindex] = this.#sandbox.veth(this.#pod, node);
    const mac = this.#pod.nl.link("v0")!.mac!, own = "10.244.1.2";
    this.scene = {
      ...{ own, mac, neighbour: "10.244.1.3", neighbourMac: "02:00:00:00:00:03" },
      ...{ far: "10.244.2.2", gateway: "10.244.1.1", gatewayMac: node.nl.link(ifindex)!.mac! },
      ...{ node: "192.0.2.11", otherNode: "192.0.2.12", otherGateway: "10.244.2.1" },
      outside: "198.51.100.7",
    };
    this.#world.clear("partial");
    this.#world.configure({ flags: NODE_FLAG.SOURCE_CHECK });
    this.#world.endpoint(own, mac, { ifindex });
    const hook = { bpffs: "", ifindex, direction: "ingress", nl: node.nl } as const;
    const programFd = this.#world.fd("lbrp_from_pod");
    attach({ ...hook, programFd, name: "lbrp_from_pod", mode: "clsact" });
  }

  /** Sends frames. @returns how many the program dropped for their checksum, and how many it did not */
  async send(frames: readonly { make: Make; csum: Csum }[]): Promise<[number, number]> {
    const lines = frames.map(({ make, csum }) => [...csum, make(pattern(10)).toHex()].join(":"));
    const before = this.#counted();
    await this.#inPod([PYTHON, script, "send", "v0"], lines.join("\n"));
    while (true) {
      const [dropped, others] = this.#counted().map((count, i) => count - before[i]!);
      if (dropped! + others! >= frames.length) return [dropped!, others!];
      await new Promise((resolve) => setTimeout(resolve, 1)); // they are in the kernel's backlog
    }
  }

  /** Its own stack sends nothing of IPv6. */
  #quiet(): void {
    const set = "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6";
    const args = ["netns", "exec", this.#pod.name, "sh", "-c", set];
    assert(new Deno.Command("ip", { args }).outputSync().success);
  }

  async #inPod(argv: string[], input: string): Promise<void> {
    const args = ["netns", "exec", this.#pod.name, ...argv];
    const child = new Deno.Command("ip", { args, stdin: "piped", stdout: "null" }).spawn();
    await new Blob([input]).stream().pipeTo(child.stdin);
    assert.equal((await child.status).code, 0);
  }

  #counted(): [dropped: number, others: number] {
    const counts = this.#world.counters().map(Number);
    const dropped = counts[reasonIndex("drop_checksum")]!;
    const all = reasons.reduce((sum, { kind }, i) => kind === "event" ? sum : sum + counts[i]!, 0);
    return [dropped, all - dropped];
  }

  [Symbol.dispose](): void {
    this.#sandbox[Symbol.dispose]();
    this.#world.close();
  }
}

Deno.test({
  name: "csum_written() lets no device write into a header, and all its own checksums",
  ignore: !needs.root() || !needs.file(PYTHON),
  async fn() {
    using link = new PodLink();
    const attacks = csumAttacks(link.scene), twins = csumTwins(link.scene);
    if (csumTold()) assert.deepEqual(await link.send(attacks), [attacks.length, 0]);
    else console.log("this kernel does not tell where a checksum is written: nothing is checked");
    assert.deepEqual(await link.send(twins), [0, twins.length]);
  },
});
