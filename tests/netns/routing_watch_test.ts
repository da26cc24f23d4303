/** What another program disturbs is noticed at once, and put right. */
import assert from "node:assert/strict";
import { Disturbances } from "../../src/agent/routing/disturbances.ts";
import { RtMonitor } from "../../src/linux/rtnl_monitor.ts";
import * as needs from "../support/needs.ts";
import { DEVICE, settings, type TestNode, World } from "./routing/world.ts";

const ignore = !needs.root();

/** A node that has applied its plan, its rtnetlink events, and a way to wait for a disturbance. */
class Watching implements AsyncDisposable {
  readonly #monitor: RtMonitor;
  readonly #running: Promise<void>;
  readonly #disturbances = new Disturbances();
  readonly #world: World;
  readonly #node: TestNode;
  #reasons: string[] = [];
  #wake = () => {};

  constructor(world: World, node: TestNode) {
    this.#world = world;
    this.#node = node;
    this.#monitor = new RtMonitor((events) => {
      this.#reasons.push(...this.#disturbances.judge(events));
      this.#wake();
    }, { netnsPath: node.netns.path });
    this.apply();
    this.#running = this.#monitor.run();
  }

  apply() {
    const { overlay } = this.#node.apply(this.#world.objects());
    const plan = this.#node.plan(this.#world.objects());
    const uplinks = [this.#node.netns.nl.link("eth0")!.index];
    this.#disturbances.update({ plan, device: DEVICE, uplinks, overlay });
  }

  /** Waits for a reason that matches; then applies again, as the agent does. */
  async until(pattern: RegExp, check: (reasons: string[]) => void = () => {}): Promise<void> {
    const deadline = performance.now() + 5000;
    while (!this.#reasons.some((why) => pattern.test(why))) {
      const left = deadline - performance.now();
      assert.ok(left > 0, `no ${pattern}, but: ${this.#reasons.join("; ")}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, left);
      await promise;
      clearTimeout(timer);
    }
    check(this.#reasons);
    this.#reasons = [];
    this.apply();
  }

  skip() {
    this.#disturbances.skip(() => this.#monitor.read());
  }

  get reasons(): string[] {
    return this.#reasons;
  }

  async [Symbol.asyncDispose]() {
    await this.#monitor.close();
    await this.#running;
  }
}

function test(
  name: string,
  fn: (watching: Watching, n1: TestNode, n2: TestNode) => Promise<void>,
  routing: "overlay" | "direct" = "overlay",
) {
  Deno.test({
    name,
    ignore,
    async fn() {
      using world = new World(2);
      for (const node of world.nodes) node.settings = settings({ routing });
      world.nodes[1]!.apply(world.objects());
      await using watching = new Watching(world, world.nodes[0]!);
      await fn(watching, world.nodes[0]!, world.nodes[1]!);
    },
  });
}

test("Disturbances: routes are removed", async (watching, n1, n2) => {
  const { nl } = n1.netns;
  const route = nl.routes().find(({ destination }) => destination === n2.podCIDR)!;
  nl.delRoute(route);
  await watching.until(/^route 10\.244\.2\.0\/24 went/);
  await n1.reaches(n2.gateway);
});

test("Disturbances: the device is changed, set down or removed", async (watching, n1, n2) => {
  const { nl } = n1.netns;
  nl.setLink(n1.vxlan().index, { mac: "5e:89:db:49:c6:a4" });
  await watching.until(/^device pcnk_vxlan changed/);
  nl.setLink(n1.vxlan().index, { mtu: 1200 });
  await watching.until(/^device pcnk_vxlan changed/);
  nl.setLink(n1.vxlan().index, { up: false });
  await watching.until(/^device pcnk_vxlan changed/);
  nl.delLink(n1.vxlan().index);
  await watching.until(/^device pcnk_vxlan went/);
  await n1.reaches(n2.gateway);
});

test("Disturbances: an uplink went down and came back", async (watching, n1, n2) => {
  const { nl } = n1.netns;
  const eth0 = nl.link("eth0")!.index;
  nl.setLink(eth0, { up: false });
  nl.setLink(eth0, { up: true });
  await watching.until(/^device eth0 changed/);
  assert.equal(nl.routeTo(n2.gateway).gateway, n2.address);
  await n1.reaches(n2.gateway);
}, "direct");

test("Disturbances: addresses change", async (watching, n1) => {
  const { nl } = n1.netns;
  nl.addAddr({ ifindex: nl.link("eth0")!.index, address: "10.7.7.7", prefixLength: 24 });
  await watching.until(/^address 10\.7\.7\.7 appeared/);
  nl.delAddr({ ifindex: n1.vxlan().index, address: "10.244.1.0", prefixLength: 32 });
  await watching.until(/^address 10\.244\.1\.0 went/);
});

test("Disturbances: systemd sets strict filtering again", async (watching, n1, n2) => {
  n1.sysctl(`net/ipv4/conf/${DEVICE}/rp_filter`, "1");
  await watching.until(/^reverse path filtering/);
  n1.sysctl("net/ipv4/conf/all/rp_filter", "1");
  await watching.until(/^reverse path filtering/);
  await n2.reaches(n1.gateway, { source: n2.address });
  n1.sysctl("net/ipv4/conf/eth0/forwarding", "0");
  await watching.until(/^forwarding/);
});

test("Disturbances: not what does not concern routing", async (watching, n1) => {
  const { nl } = n1.netns;
  // The making of the overlay device counts, as its index was not known yet. A marker ends that.
  nl.addAddr({ ifindex: nl.link("eth0")!.index, address: "10.7.7.1", prefixLength: 24 });
  await watching.until(/10\.7\.7\.1/);
  watching.apply();
  nl.addLink({ kind: "veth", name: "pod1", peer: { name: "pod1p" }, up: true });
  const pod = nl.link("pod1")!.index;
  nl.addAddr({ ifindex: pod, address: "10.8.8.1", prefixLength: 24 });
  nl.addRoute({ destination: "10.99.0.0/16", ifindex: pod, protocol: 4 });
  n1.sysctl("net/ipv4/conf/pod1/rp_filter", "1");
  nl.delLink(pod);
  nl.addAddr({ ifindex: nl.link("eth0")!.index, address: "10.7.7.2", prefixLength: 24 });
  await watching.until(/10\.7\.7\.2/);
  assert.deepEqual(watching.reasons, []);
});

test(
  "Disturbances.skip() leaves out what came before it, and nothing after",
  async (watching, n1) => {
    const { nl } = n1.netns;
    const ifindex = nl.link("eth0")!.index;
    nl.addAddr({ ifindex, address: "10.7.7.1", prefixLength: 24 });
    watching.skip();
    nl.addAddr({ ifindex, address: "10.7.7.2", prefixLength: 24 });
    await watching.until(
      /10\.7\.7\.2/,
      (reasons) => assert.doesNotMatch(reasons.join(), /10\.7\.7\.1/),
    );
  },
);

Deno.test({
  name: "The agent's own routes to 5,000 nodes are not too many for the watch",
  ignore,
  async fn() {
    using world = new World(1);
    await using watching = new Watching(world, world.nodes[0]!);
    const { nl } = world.nodes[0]!.netns;
    const ifindex = nl.link("eth0")!.index;
    for (let i = 0; i < 5000; i++) {
      nl.addRoute({ destination: `10.${100 + (i >> 8)}.${i & 255}.0/24`, ifindex });
    }
    nl.addAddr({ ifindex, address: "10.7.7.1", prefixLength: 24 });
    await watching.until(/10\.7\.7\.1/, (reasons) => assert.doesNotMatch(reasons.join(), /lost/));
  },
});
