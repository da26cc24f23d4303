/** The overlay device on the real kernel: made anew, put right, in conflict with others. */
import assert from "node:assert/strict";
import { SyscallError } from "../../src/linux/libc.ts";
import * as needs from "../support/needs.ts";
import { BRIDGE, DEVICE, settings, type TestNode, World } from "./routing/world.ts";

const ignore = !needs.root();

function test(
  name: string,
  fn: (world: World, n1: TestNode, n2: TestNode) => void | Promise<void>,
) {
  Deno.test({
    name,
    ignore,
    async fn() {
      using world = new World(2);
      await fn(world, world.nodes[0]!, world.nodes[1]!);
    },
  });
}

function overlay(change: Partial<ReturnType<typeof settings>["overlay"]>) {
  return settings({ overlay: { ...settings().overlay, ...change } });
}

test(
  "the device is in external mode, does not learn, and has its MAC from the start",
  (world, n1) => {
    n1.apply(world.objects());
    const { external, learning, port, id, local, lower, mac, up } = n1.vxlan();
    assert.deepEqual({ external, learning, port, id, local, lower, mac, up }, {
      external: true,
      learning: false,
      port: 4789,
      id: 0,
      local: undefined,
      lower: undefined,
      mac: "02:70:c0:a8:32:0b",
      up: true,
    });
    // NET_ADDR_SET (3): given by user space, which is what keeps systemd-udev from giving another.
    assert.equal(assignType(n1), "3");
    assert.deepEqual(
      n1.netns.nl.addrs(n1.vxlan().index).map(({ address, prefixLength }) =>
        `${address}/${prefixLength}`
      ),
      ["10.244.1.0/32"],
    );
  },
);

/** /sys/class/net/…/addr_assign_type, which shows the namespace of the process that mounted it. */
function assignType({ netns }: TestNode): string {
  const script = `mount -t sysfs sysfs /sys && cat /sys/class/net/${DEVICE}/addr_assign_type`;
  const { stdout } = new Deno.Command("nsenter", {
    args: [`--net=${netns.path}`, "unshare", "--mount", "sh", "-c", script],
  }).outputSync();
  return new TextDecoder().decode(stdout).trim();
}

test("another UDP port makes the device anew, and all that was on it", async (world, n1, n2) => {
  world.applyAll();
  const before = n1.vxlan().index;
  for (const node of world.nodes) node.settings = overlay({ port: 8472 });
  const [report] = world.applyAll();
  assert.notEqual(n1.vxlan().index, before);
  assert.equal(n1.vxlan().port, 8472);
  assert.equal(report!.overlay, n1.vxlan().index);
  await n1.reaches(n2.gateway);
  assert.deepEqual(n1.apply(world.objects()).steps, []);
});

test("another VNI changes the routes and leaves the device", async (world, n1, n2) => {
  world.applyAll();
  const before = n1.vxlan().index;
  for (const node of world.nodes) node.settings = overlay({ vni: 77 });
  world.applyAll();
  assert.equal(n1.vxlan().index, before);
  assert.equal(n1.netns.nl.routeTo(n2.gateway).encap?.id, 77);
  await n1.reaches(n2.gateway);
});

test(
  "a plain VXLAN device of that name gives way to one in external mode",
  async (world, n1, n2) => {
    const { nl } = n1.netns;
    nl.addLink({ kind: "vxlan", name: DEVICE, vxlan: { id: 42, learning: true }, up: true });
    world.applyAll();
    assert.equal(n1.vxlan().external, true);
    await n1.reaches(n2.gateway);
  },
);

test("the device's former name is forgotten", async (world, n1, n2) => {
  world.applyAll();
  n1.netns.nl.setLink(n1.vxlan().index, { up: false });
  n1.netns.nl.setLink(n1.vxlan().index, { name: "former", up: true });
  n1.apply(world.objects());
  assert.deepEqual(n1.tunnel.vxlans().map(({ name }) => name), [DEVICE]);
  await n1.reaches(n2.gateway);
});

test(
  "a MAC address that someone changed is set right without making the device anew",
  async (world, n1, n2) => {
    world.applyAll();
    const { index } = n1.vxlan();
    n1.netns.nl.setLink(index, { mac: "5e:89:db:49:c6:a4" });
    assert.equal((await n2.ping(n1.gateway)).ok, false, "this is what flannel's users saw");
    n1.apply(world.objects());
    assert.equal(n1.vxlan().index, index);
    assert.equal(n1.vxlan().mac, "02:70:c0:a8:32:0b");
    const neighbours = n1.netns.nl.neighs(index);
    assert.deepEqual(neighbours.map(({ address, state }) => [address, state]), [[
      "10.244.2.0",
      0x80,
    ]]);
    await n2.reaches(n1.gateway);
    await n1.reaches(n2.gateway);
    assert.deepEqual(n1.apply(world.objects()).steps, []);
  },
);

test("a device that was set down comes up with its routes", async (world, n1, n2) => {
  world.applyAll();
  n1.netns.nl.setLink(n1.vxlan().index, { up: false });
  n1.apply(world.objects());
  await n1.reaches(n2.gateway);
});

test(
  "a UDP port that is taken is said with the name of who has it, once",
  async (world, n1, n2) => {
    const { nl } = n1.netns;
    const conflicts = [{ external: true }, { id: 9 }];
    for (const vxlan of conflicts) {
      nl.addLink({ kind: "vxlan", name: "flannel.1", vxlan, up: true });
      const { failures } = n1.routing.reconcile(n1.plan(world.objects()));
      assert.equal(failures.length, 1);
      assert.match(
        failures[0]!.message,
        /^cannot .*; device flannel\.1 has UDP port 4789: remove it, or set overlay\.port/,
      );
      assert.ok(failures[0]!.error instanceof SyscallError);
      nl.delLink(nl.link("flannel.1")!.index);
      world.applyAll();
      await n1.reaches(n2.gateway);
      nl.delLink(n1.vxlan().index);
    }
  },
);

test("direct routes do not wait for an overlay that cannot be", async (world, n1, n2) => {
  const { nl } = n1.netns;
  nl.addLink({ kind: "vxlan", name: "flannel.1", vxlan: { external: true }, up: true });
  for (const node of world.nodes) node.settings = settings({ routing: "direct" });
  n2.apply(world.objects());
  assert.equal(n1.routing.reconcile(n1.plan(world.objects())).failures.length, 1);
  await n1.reaches(n2.gateway);
});

test("a foreign device of that name is left alone and named", (world, n1) => {
  n1.netns.nl.addLink({ kind: "bridge", name: DEVICE });
  const { problems, failures, overlay } = n1.routing.reconcile(n1.plan(world.objects()));
  assert.deepEqual(problems.map(({ code }) => code), ["device-taken"]);
  assert.deepEqual([failures, overlay], [[], undefined]);
  assert.equal(n1.netns.nl.link(DEVICE)?.kind, "bridge");
});

test("a foreign route in a place of ours stays and is named", async (world, n1, n2) => {
  const { nl } = n1.netns;
  const taken = { destination: n2.podCIDR, gateway: "192.168.50.1", protocol: 3 };
  nl.addRoute(taken);
  const { problems } = n1.apply(world.objects());
  assert.deepEqual(problems.map(({ code }) => code), ["route-taken"]);
  assert.equal(nl.routeTo(n2.gateway).gateway, "192.168.50.1");
  nl.delRoute(taken);
  world.applyAll();
  await n1.reaches(n2.gateway);
});

test("checksum offload can be turned off and on", async (world, n1, n2) => {
  n1.settings = overlay({ checksumOffload: false });
  world.applyAll();
  assert.equal(n1.tunnel.checksumOffload(DEVICE), false);
  assert.deepEqual(n1.apply(world.objects()).steps, []);
  await n1.reaches(n2.gateway);
  n1.settings = settings();
  n1.apply(world.objects());
  assert.equal(n1.tunnel.checksumOffload(DEVICE), true);
  assert.throws(() => n1.tunnel.checksumOffload("nosuch"), { code: "ENODEV" });
});

test(
  "the bridge's broadcast address, as kernels before 5.14 make it, does not hide the device's",
  async (world, n1, n2) => {
    const bridge = n1.netns.nl.link(BRIDGE)!.index;
    const broadcast = {
      destination: "10.244.1.0/32",
      type: "broadcast",
      ifindex: bridge,
      table: 255,
      protocol: 2,
    } as const;
    n1.netns.nl.addRoute(broadcast);
    world.applyAll();
    assert.equal(n1.netns.nl.delRoute(broadcast), false);
    await n1.reaches(n2.gateway);
  },
);
