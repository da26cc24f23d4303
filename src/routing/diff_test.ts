import assert from "node:assert/strict";
import { diffRouting, UNREACHABLE_METRIC } from "./diff.ts";
import type { KernelRouting } from "./kernel.ts";
import { emptyPlan, planRouting } from "./plan.ts";
import type { HeldRoute, Step } from "./steps.ts";
import {
  bareKernel,
  cpuMs,
  follow,
  input,
  manyNodes,
  node,
  settings,
  uplink,
} from "./test_support.ts";
import type { RoutingPlan } from "./types.ts";

const nodes = [node(1), node(2), node(3)];
const plan = planRouting(input(nodes));
const direct = settings({ routing: "direct" });

/** The kernel after a plan was applied, and nothing is left to do. */
function settled(wanted: RoutingPlan, kernel: KernelRouting = bareKernel()): KernelRouting {
  const after = follow(kernel, diffRouting(wanted, kernel).steps);
  assert.deepEqual(diffRouting(wanted, after).steps, []);
  return after;
}

/** The steps' verbs with what they are about. */
function verbs(steps: readonly Step[]): string[] {
  return steps.map((step) => {
    switch (step.do) {
      case "add-route":
      case "replace-route":
      case "delete-route":
        return `${step.do} ${step.route.destination}`;
      case "set-remote":
        return `${step.do} ${step.remote.prefix} ${step.remote.mode}`;
      case "delete-remote":
        return `${step.do} ${step.prefix}`;
      case "set-neighbour":
        return `${step.do} ${step.neighbour.address}`;
      case "delete-neighbour":
      case "add-address":
      case "delete-address":
        return `${step.do} ${step.address}`;
      case "set-sysctl":
        return `${step.do} ${step.sysctl.name}`;
      case "set-device":
        return `${step.do} ${Object.keys(step.change).join()}`;
      default:
        return step.do;
    }
  });
}

function change(wanted: RoutingPlan, kernel: KernelRouting): string[] {
  const { steps } = diffRouting(wanted, kernel);
  settled(wanted, kernel);
  return verbs(steps);
}

Deno.test("diffRouting() on a bare kernel makes the device before what needs it", () => {
  assert.deepEqual(change(plan, bareKernel()), [
    "create-device",
    "set-sysctl net/ipv4/ip_forward",
    "set-sysctl net/ipv4/conf/pcnk_vxlan/forwarding",
    "set-sysctl net/ipv4/conf/eth0/forwarding",
    "set-sysctl net/ipv6/conf/pcnk_vxlan/disable_ipv6",
    "set-device up",
    "add-address 10.244.1.0",
    "set-neighbour 10.244.2.0",
    "set-neighbour 10.244.3.0",
    "add-route 10.244.1.0/24",
    "add-route 10.244.2.0/24",
    "add-route 10.244.3.0/24",
    "set-remote 10.244.2.0/24 overlay",
    "set-remote 10.244.3.0/24 overlay",
  ]);
});

Deno.test("diffRouting() of a plan that is not usable touches nothing", () => {
  const lost = planRouting(input([node(2)]));
  assert.deepEqual(diffRouting(lost, settled(plan)).steps, []);
});

Deno.test("diffRouting() follows nodes that join, leave, and move", () => {
  const kernel = settled(plan);
  assert.deepEqual(change(planRouting(input([...nodes, node(4)])), kernel), [
    "set-neighbour 10.244.4.0",
    "add-route 10.244.4.0/24",
    "set-remote 10.244.4.0/24 overlay",
  ]);
  assert.deepEqual(change(planRouting(input([node(1), node(2)])), kernel), [
    "delete-remote 10.244.3.0/24",
    "delete-route 10.244.3.0/24",
    "delete-neighbour 10.244.3.0",
  ]);
  const moved = node(3, { internalIPs: ["192.168.50.99"] });
  assert.deepEqual(change(planRouting(input([node(1), node(2), moved])), kernel), [
    "set-neighbour 10.244.3.0",
    "replace-route 10.244.3.0/24",
    "set-remote 10.244.3.0/24 overlay",
  ]);
  const renumbered = node(3, { podCIDRs: ["10.244.9.0/24"] });
  assert.deepEqual(change(planRouting(input([node(1), node(2), renumbered])), kernel), [
    "set-neighbour 10.244.9.0",
    "add-route 10.244.9.0/24",
    "set-remote 10.244.9.0/24 overlay",
    "delete-remote 10.244.3.0/24",
    "delete-route 10.244.3.0/24",
    "delete-neighbour 10.244.3.0",
  ]);
});

Deno.test("diffRouting() replaces a route in place when a pair changes its mode", () => {
  const kernel = settled(plan);
  const both = planRouting(input(nodes, { settings: direct }));
  assert.deepEqual(change(both, kernel), [
    "replace-route 10.244.2.0/24",
    "replace-route 10.244.3.0/24",
    "set-remote 10.244.2.0/24 direct",
    "set-remote 10.244.3.0/24 direct",
    "delete-neighbour 10.244.2.0",
    "delete-neighbour 10.244.3.0",
  ]);
  assert.deepEqual(change(plan, settled(both)).length, 6);
});

Deno.test("diffRouting() has new routes when the VNI changes, and the same device", () => {
  const overlay = { ...settings().overlay, vni: 77 };
  const other = planRouting(input(nodes, { settings: settings({ overlay }) }));
  assert.deepEqual(change(other, settled(plan)), [
    "replace-route 10.244.2.0/24",
    "replace-route 10.244.3.0/24",
  ]);
});

/** The kernel with another overlay device. */
function withDevice(
  kernel: KernelRouting,
  other: Partial<NonNullable<KernelRouting["overlay"]>>,
): KernelRouting {
  return { ...kernel, overlay: { ...kernel.overlay!, ...other } };
}

Deno.test("diffRouting() makes the device anew, with all on it, when it cannot be changed", () => {
  const kernel = settled(plan);
  for (const other of [{ port: 8472 }, { external: false }, { learning: true }]) {
    const steps = change(plan, withDevice(kernel, other));
    assert.deepEqual(steps.slice(0, 2), ["delete-device", "create-device"]);
    const rest = ["add-address 10.244.1.0", "set-neighbour 10.244.2.0", "add-route 10.244.2.0/24"];
    for (const step of rest) assert.ok(steps.includes(step), step);
    assert.ok(!steps.includes("add-route 10.244.1.0/24"), "the guard is on no device");
  }
});

Deno.test("diffRouting() sets a MAC address right that someone changed, and the neighbours anew", () => {
  const kernel = withDevice(settled(plan), { mac: "5e:89:db:49:c6:a4" });
  assert.deepEqual(change(plan, kernel), [
    "set-device mac",
    "set-neighbour 10.244.2.0",
    "set-neighbour 10.244.3.0",
  ]);
});

Deno.test("diffRouting() sets MTU, checksum offload and a device that is down right", () => {
  const kernel = settled(plan);
  const { overlay } = kernel;
  assert.deepEqual(change(plan, withDevice(kernel, { mtu: 1500 })), ["set-device mtu"]);
  assert.deepEqual(change(plan, withDevice(kernel, { checksumOffload: false })), [
    "set-checksum-offload",
  ]);
  // Going down, a device loses its routes and neighbours.
  const flushed = { routes: kernel.routes.filter(({ ifindex }) => ifindex !== overlay?.ifindex) };
  const down = { ...withDevice(kernel, { up: false }), ...flushed, neighbours: [] };
  assert.deepEqual(change(plan, down)[0], "set-device up");
});

Deno.test("diffRouting() turns checksum offload off before the device is up", () => {
  const overlay = { ...settings().overlay, checksumOffload: false };
  const steps = change(
    planRouting(input(nodes, { settings: settings({ overlay }) })),
    bareKernel(),
  );
  assert.ok(steps.indexOf("set-checksum-offload") < steps.indexOf("set-device up"));
});

Deno.test("diffRouting() adds the new address before it takes the old one away", () => {
  const renumbered = [node(1, { podCIDRs: ["10.244.8.0/24"] }), node(2), node(3)];
  assert.deepEqual(change(planRouting(input(renumbered)), settled(plan)), [
    "add-address 10.244.8.0",
    "delete-address 10.244.1.0",
    "add-route 10.244.8.0/24",
    "delete-route 10.244.1.0/24",
  ]);
});

Deno.test("diffRouting() keeps the address while the own Node has no podCIDR", () => {
  const without = planRouting(input([node(1, { podCIDRs: [] }), node(2), node(3)]));
  assert.deepEqual(change(without, settled(plan)), ["delete-route 10.244.1.0/24"]);
});

Deno.test("diffRouting() removes the broadcast address that hides the own one, and no other", () => {
  const broadcasts = [
    { address: "10.244.1.0", ifindex: 9 },
    { address: "10.244.1.255", ifindex: 9 },
  ];
  const steps = diffRouting(plan, { ...settled(plan), broadcasts }).steps;
  assert.deepEqual(steps, [{ do: "delete-broadcast", address: "10.244.1.0", ifindex: 9 }]);
});

const foreign: HeldRoute[] = [
  { destination: "0.0.0.0/0", type: "unicast", protocol: 16, gateway: "192.168.50.1", ifindex: 2 },
  { destination: "10.244.1.0/24", type: "unicast", protocol: 2, ifindex: 9 },
  { destination: "10.99.0.0/16", type: "unicast", protocol: 4, metric: 0, ifindex: 2 },
];

Deno.test("diffRouting() leaves routes of others alone, also in the end", () => {
  const kernel = settled(plan, bareKernel({ routes: foreign }));
  assert.equal(kernel.routes.length, foreign.length + 3);
  const after = settled(emptyPlan(), kernel);
  assert.deepEqual(after.routes, foreign);
});

Deno.test("diffRouting() reports a foreign route in a place of ours, and does the rest", () => {
  const taken: HeldRoute = {
    destination: "10.244.2.0/24",
    type: "unicast",
    protocol: 3,
    gateway: "10.244.2.0",
    ifindex: 77,
  };
  const { steps, problems } = diffRouting(plan, bareKernel({ routes: [taken] }), "n1");
  assert.deepEqual(problems.map(({ code, node }) => [code, node]), [["route-taken", "n1"]]);
  assert.match(
    problems[0]!.message,
    /10\.244\.2\.0\/24 via 10\.244\.2\.0 by device 77, protocol 3/,
  );
  assert.ok(verbs(steps).includes("add-route 10.244.3.0/24"));
  assert.ok(!verbs(steps).includes("add-route 10.244.2.0/24"));
});

Deno.test("diffRouting() does not mind a foreign route with another metric", () => {
  const other: HeldRoute = {
    destination: "10.244.2.0/24",
    type: "unicast",
    protocol: 3,
    metric: 50,
    ifindex: 2,
  };
  settled(plan, bareKernel({ routes: [other] }));
  const guard = { ...other, destination: "10.244.1.0/24", metric: UNREACHABLE_METRIC };
  assert.deepEqual(diffRouting(plan, bareKernel({ routes: [guard] })).problems, []);
});

Deno.test("diffRouting() takes back a route of ours that is wrong or there twice", () => {
  const kernel = settled(plan);
  const ours = kernel.routes.find(({ destination }) => destination === "10.244.2.0/24")!;
  for (const wrong of [{ gateway: "10.0.0.1" }, { onlink: false }, { mtu: 900 }, { ifindex: 2 }]) {
    const routes = kernel.routes.map((route) => route === ours ? { ...ours, ...wrong } : route);
    assert.deepEqual(change(plan, { ...kernel, routes }), ["replace-route 10.244.2.0/24"]);
  }
  const twice = { ...kernel, routes: [...kernel.routes, { ...ours, gateway: "10.0.0.1" }] };
  assert.deepEqual(verbs(diffRouting(plan, twice).steps), ["delete-route 10.244.2.0/24"]);
});

Deno.test("diffRouting() makes learned neighbours permanent and leaves others that are not", () => {
  const kernel = settled(plan);
  const neighbours = [
    { address: "10.244.2.0", mac: "02:70:c0:a8:32:0c", state: 2 },
    kernel.neighbours[1]!,
    { address: "224.0.0.22", mac: "01:00:5e:00:00:16", state: 0x40 },
    { address: "10.244.7.0", mac: "02:70:c0:a8:32:07", state: 0x80 },
  ];
  assert.deepEqual(change(plan, { ...kernel, neighbours }), [
    "set-neighbour 10.244.2.0",
    "delete-neighbour 10.244.7.0",
  ]);
});

Deno.test("diffRouting() loosens strict filtering only, wherever it comes from", () => {
  const steps = (entries: Record<string, string>) => {
    const kernel = settled(plan);
    const sysctls = new Map([...kernel.sysctls, ...Object.entries(entries)]);
    return verbs(diffRouting(plan, { ...kernel, sysctls }).steps);
  };
  const conf = (device: string) => `net/ipv4/conf/${device}/rp_filter`;
  const [all, own, link] = [conf("all"), conf("pcnk_vxlan"), conf("eth0")];
  assert.deepEqual(steps({ [own]: "1" }), [`set-sysctl ${own}`]);
  assert.deepEqual(steps({ [all]: "1" }), [`set-sysctl ${own}`, `set-sysctl ${link}`]);
  assert.deepEqual(steps({ [all]: "2", [own]: "1", [link]: "0" }), []);
  assert.deepEqual(steps({ [own]: "2", [link]: "2", [all]: "1" }), []);
  const strict = bareKernel();
  strict.sysctls.set("net/ipv4/conf/default/rp_filter", "1");
  assert.ok(change(plan, strict).includes(`set-sysctl ${own}`), "a new device has the default");
});

Deno.test("diffRouting() does not touch a foreign device that has the overlay's name", () => {
  const overlay = { ...settled(plan).overlay!, kind: "bridge", external: false };
  const { steps, problems } = diffRouting(plan, bareKernel({ overlay }), "n1");
  assert.deepEqual(problems.map(({ code }) => code), ["device-taken"]);
  assert.deepEqual(verbs(steps), [
    "set-sysctl net/ipv4/ip_forward",
    "set-sysctl net/ipv4/conf/eth0/forwarding",
    "add-route 10.244.1.0/24",
  ]);
});

Deno.test("diffRouting() removes the overlay device under its former name first", () => {
  const kernel = bareKernel({ leftovers: [{ ifindex: 33, name: "old_vxlan" }] });
  assert.deepEqual(change(plan, kernel).slice(0, 2), ["delete-device", "create-device"]);
});

Deno.test("diffRouting() without a map writes none", () => {
  const kernel = bareKernel();
  delete kernel.remotes;
  assert.ok(!diffRouting(plan, kernel).steps.some((step) => step.do === "set-remote"));
});

Deno.test("diffRouting() comes to rest after any change, and leaves nothing behind", () => {
  let seed = 7;
  const random = (below: number) => (seed = seed * 48271 % 0x7fffffff) % below;
  let kernel = bareKernel({ routes: foreign });
  for (let round = 0; round < 400; round++) {
    const cluster = Array.from({ length: random(8) }, (_, i) =>
      node(i + 2, {
        internalIPs: [`192.168.${50 + random(2)}.${12 + random(9)}`],
        podCIDRs: random(8) === 0 ? [] : [`10.${244 + random(2)}.${2 + random(9)}.0/24`],
        ...(random(2) ? { directRouting: true } : {}),
        ...(random(6) ? {} : { publicIP: `203.0.113.${random(4)}` }),
      }));
    const overlay = {
      device: "pcnk_vxlan",
      vni: 42 + random(2),
      port: random(4) ? 4789 : 8472,
      checksumOffload: random(4) > 0,
    };
    const own = node(1, {
      podCIDRs: random(5) ? ["10.244.1.0/24"] : random(2) ? ["10.246.1.0/24"] : [],
      ...(random(9) ? {} : { internalIPs: ["192.168.50.200"] }),
    });
    const wanted = planRouting(input([own, ...cluster], {
      settings: settings({ overlay, routing: random(2) ? "direct" : "overlay" }),
      uplinks: random(5) ? [uplink] : [],
    }));
    kernel = settled(wanted, kernel);
    assert.equal(kernel.routes.length, foreign.length + wanted.routes.length);
    assert.equal(kernel.remotes?.size, wanted.remotes.length);
    assert.equal(kernel.neighbours.length, wanted.neighbours.length);
  }
  const end = settled(emptyPlan(), kernel);
  assert.deepEqual([end.overlay, end.routes, end.remotes?.size], [undefined, foreign, 0]);
});

Deno.test("diffRouting() finds one change among 5,000 nodes in less than a tenth of a second", () => {
  const cluster = manyNodes(5000);
  const kernel = settled(planRouting(input(cluster)));
  cluster[4000] = { ...cluster[4000]!, internalIPs: ["172.31.255.1"] };
  const times = Array.from({ length: 7 }, () =>
    cpuMs(() => {
      const { steps } = diffRouting(planRouting(input(cluster)), kernel);
      assert.equal(steps.length, 3);
    }));
  const best = Math.min(...times);
  assert.ok(best < 100, `${best} ms`);
});
