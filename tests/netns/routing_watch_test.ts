/** Who disturbs what was applied is noticed at once, and put right. */
import assert from "node:assert/strict";
import { RoutingWatch } from "../../src/agent/routing/watch.ts";
import { openFds } from "../support/fds.ts";
import * as needs from "../support/needs.ts";
import { DEVICE, settings, type TestNode, World } from "./routing/world.ts";

const ignore = !needs.root();

/** A watch on a node that has applied its plan, and a way to wait for what it tells. */
class Watching implements AsyncDisposable {
  readonly watch: RoutingWatch;
  #told: string[] = [];
  #wake = () => {};

  constructor(private readonly world: World, private readonly node: TestNode) {
    this.watch = RoutingWatch.open(
      (why) => {
        this.#told.push(...why);
        this.#wake();
      },
      (error) => {
        throw error;
      },
      node.netns.path,
    );
    this.apply();
  }

  apply() {
    const { node, world } = this;
    const { overlay } = node.apply(world.objects());
    const plan = node.plan(world.objects());
    const uplinks = [node.netns.nl.link("eth0")!.index];
    this.watch.update({ plan, device: DEVICE, uplinks }, overlay);
  }

  /** Waits until it has been told what matches; applies again after each call, as the agent does. */
  async until(pattern: RegExp, check: (told: string[]) => void = () => {}): Promise<void> {
    const deadline = performance.now() + 5000;
    while (!this.#told.some((why) => pattern.test(why))) {
      const left = deadline - performance.now();
      assert.ok(left > 0, `never told of ${pattern}, but of: ${this.#told.join("; ")}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, left);
      await promise;
      clearTimeout(timer);
    }
    check(this.#told);
    this.#told = [];
    this.apply();
  }

  get told(): string[] {
    return this.#told;
  }

  [Symbol.asyncDispose]() {
    return this.watch.close();
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

test("RoutingWatch tells when routes are removed", async (watching, n1, n2) => {
  const { nl } = n1.netns;
  const route = nl.routes().find(({ destination }) => destination === n2.podCIDR)!;
  nl.delRoute(route);
  await watching.until(/^route 10\.244\.2\.0\/24 went/);
  await n1.reaches(n2.gateway);
});

test(
  "RoutingWatch tells when the device is changed, set down or removed",
  async (watching, n1, n2) => {
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
  },
);

test("RoutingWatch tells when an uplink went down and came back", async (watching, n1, n2) => {
  const { nl } = n1.netns;
  const eth0 = nl.link("eth0")!.index;
  nl.setLink(eth0, { up: false });
  nl.setLink(eth0, { up: true });
  await watching.until(/^device eth0 changed/);
  assert.equal(nl.routeTo(n2.gateway).gateway, n2.address);
  await n1.reaches(n2.gateway);
}, "direct");

test("RoutingWatch tells when addresses change", async (watching, n1) => {
  const { nl } = n1.netns;
  nl.addAddr({ ifindex: nl.link("eth0")!.index, address: "10.7.7.7", prefixLength: 24 });
  await watching.until(/^address 10\.7\.7\.7 appeared/);
  nl.delAddr({ ifindex: n1.vxlan().index, address: "10.244.1.0", prefixLength: 32 });
  await watching.until(/^address 10\.244\.1\.0 went/);
});

test("RoutingWatch tells when systemd sets strict filtering again", async (watching, n1, n2) => {
  n1.sysctl(`net/ipv4/conf/${DEVICE}/rp_filter`, "1");
  await watching.until(/^reverse path filtering/);
  n1.sysctl("net/ipv4/conf/all/rp_filter", "1");
  await watching.until(/^reverse path filtering/);
  await n2.reaches(n1.gateway, { source: n2.address });
  n1.sysctl("net/ipv4/conf/eth0/forwarding", "0");
  await watching.until(/^forwarding/);
});

test("RoutingWatch says nothing of what does not concern routing", async (watching, n1) => {
  const { nl } = n1.netns;
  // The device's own making is told of, rightly: it was not known yet. A marker ends that.
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
  assert.deepEqual(watching.told, []);
});

test(
  "RoutingWatch.forget() leaves out what came before it, and nothing after",
  async (watching, n1) => {
    const { nl } = n1.netns;
    const ifindex = nl.link("eth0")!.index;
    nl.addAddr({ ifindex, address: "10.7.7.1", prefixLength: 24 });
    watching.watch.forget();
    nl.addAddr({ ifindex, address: "10.7.7.2", prefixLength: 24 });
    await watching.until(/10\.7\.7\.2/, (told) => assert.doesNotMatch(told.join(), /10\.7\.7\.1/));
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
    await watching.until(/10\.7\.7\.1/, (told) => assert.doesNotMatch(told.join(), /lost/));
  },
});

Deno.test({
  name: "RoutingWatch.close() leaves no descriptor",
  ignore,
  async fn() {
    using world = new World(1);
    const before = openFds();
    const watch = RoutingWatch.open(() => {}, () => {}, world.nodes[0]!.netns.path);
    await watch.close();
    await watch.close();
    assert.deepEqual(openFds(), before);
  },
});
