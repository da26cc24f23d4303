/** The real SDK over HTTP against doubles that keep EC2's rules; see tests/support/ec2.ts. */
import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { Ec2Double } from "../../tests/support/ec2.ts";
import { ImdsDouble } from "../../tests/support/imds.ts";
import { Aws } from "./aws.ts";

const address = "172.31.0.11", podCIDR = "10.244.1.0/24";

/** A VPC with a main table, a table of the instance's subnet and many of others. */
class World implements AsyncDisposable {
  readonly ec2 = new Ec2Double();
  readonly imds = new ImdsDouble();
  readonly aws: Aws;

  constructor(attempts = 3) {
    const local = {
      destination: "172.31.0.0/16",
      gateway: "local",
      origin: "CreateRouteTable",
    } as const;
    for (let i = 0; i < 5; i++) {
      this.ec2.tables.push({
        id: `rtb-other${i}`,
        vpc: "vpc-2",
        main: i === 0,
        subnets: [`subnet-other${i}`],
        routes: [],
      });
    }
    this.ec2.tables.push(
      { id: "rtb-main", vpc: "vpc-1", main: true, subnets: [], routes: [local] },
      {
        id: "rtb-own",
        vpc: "vpc-1",
        subnets: ["subnet-x", "subnet-1"],
        routes: [local, { destination: "10.244.2.0/24", eni: "eni-2" }, {
          destination: "0.0.0.0/0",
          gateway: "igw-1",
        }],
      },
    );
    this.ec2.enis.push(
      {
        id: "eni-1",
        instance: "i-1",
        index: 0,
        address,
        subnet: "subnet-1",
        vpc: "vpc-1",
        check: true,
      },
      {
        id: "eni-2",
        instance: "i-2",
        index: 0,
        address: "172.31.0.12",
        subnet: "subnet-1",
        vpc: "vpc-1",
        check: false,
      },
    );
    this.aws = new Aws({
      imds: { endpoint: this.imds.url },
      endpoint: this.ec2.url,
      env: () => undefined,
      attempts,
    });
  }

  routeOf(table: string, destination = podCIDR) {
    return this.ec2.table(table).routes.find((one) => one.destination === destination);
  }

  async [Symbol.asyncDispose]() {
    this.aws.close();
    await this.ec2[Symbol.asyncDispose]();
    await this.imds[Symbol.asyncDispose]();
  }
}

Deno.test("Aws.ensure() turns the check off and leads the podCIDR here, in the table of the instance's own subnet", async () => {
  await using world = new World();
  const state = await world.aws.ensure(podCIDR, address);
  deepEqual(world.routeOf("rtb-own"), { destination: podCIDR, eni: "eni-1" });
  equal(world.routeOf("rtb-main"), undefined);
  equal(world.ec2.enis[0]!.check, false);
  deepEqual(state.routes, [podCIDR, "10.244.2.0/24"], "ways to other nodes, not gateways");
  deepEqual(state.done, [
    "source/destination check of eni-1 turned off",
    "route 10.244.1.0/24 to eni-1 in rtb-own",
  ]);
  const { routes: _, done: __, ...kept } = state;
  deepEqual(kept, {
    region: "eu-central-1",
    routeTableId: "rtb-own",
    eni: "eni-1",
    podCIDR,
    checkTurnedOff: { instanceId: "i-1" },
  });
  world.ec2.asked.length = 0;
  const again = await world.aws.ensure(podCIDR, address, state);
  deepEqual([again.done, again.checkTurnedOff], [[], { instanceId: "i-1" }]);
  deepEqual(
    world.ec2.asked,
    ["DescribeInstances", "DescribeRouteTables"],
    "a second time it only looks",
  );
});

Deno.test("Aws.ensure() takes the main table only where the subnet has none, page by page", async () => {
  await using world = new World();
  world.ec2.table("rtb-own").subnets = [];
  world.ec2.pageSize = 1;
  for (let i = 0; i < 3; i++) {
    world.ec2.tables.unshift({
      id: `rtb-a${i}`,
      vpc: "vpc-1",
      subnets: [`subnet-a${i}`],
      routes: [],
    });
  }
  equal((await world.aws.ensure(podCIDR, address)).routeTableId, "rtb-main");
  deepEqual(world.routeOf("rtb-main")?.eni, "eni-1");
});

Deno.test("Aws.ensure() replaces a route to another target, and a blackhole", async () => {
  await using world = new World();
  for (
    const held of [{ eni: "eni-2" }, { eni: "eni-1", state: "blackhole" as const }, {
      gateway: "igw-1",
    }]
  ) {
    world.ec2.table("rtb-own").routes = [{ destination: podCIDR, ...held }];
    const { done } = await world.aws.ensure(podCIDR, address);
    deepEqual(world.routeOf("rtb-own"), { destination: podCIDR, eni: "eni-1" });
    match(done.at(-1)!, /in the place of one to (eni-|igw-)/);
  }
});

Deno.test("Aws.ensure() gets through races: the route comes or goes between look and call", async () => {
  await using world = new World();
  const { routes } = world.ec2.table("rtb-own");
  world.ec2.before = (action) =>
    action === "CreateRoute" && !world.routeOf("rtb-own") &&
    routes.push({ destination: podCIDR, eni: "eni-2" });
  await world.aws.ensure(podCIDR, address);
  deepEqual(world.routeOf("rtb-own")?.eni, "eni-1");
  deepEqual(world.ec2.asked.slice(-2), ["CreateRoute", "ReplaceRoute"]);
  routes.splice(routes.findIndex(({ destination }) => destination === podCIDR), 1, {
    destination: podCIDR,
    eni: "eni-2",
  });
  world.ec2.before = (action) => {
    if (action !== "ReplaceRoute") return;
    routes.splice(routes.findIndex(({ destination }) => destination === podCIDR), 1);
  };
  await world.aws.ensure(podCIDR, address);
  deepEqual(world.routeOf("rtb-own")?.eni, "eni-1");
});

Deno.test("Aws.ensure() goes by the interface that has the node's address, where there are several", async () => {
  await using world = new World();
  world.ec2.enis.push({
    id: "eni-3",
    instance: "i-1",
    index: 1,
    address: "172.31.9.9",
    subnet: "subnet-other",
    vpc: "vpc-1",
    check: true,
  });
  world.ec2.tables.push({ id: "rtb-3", vpc: "vpc-1", subnets: ["subnet-other"], routes: [] });
  const { eni, routeTableId } = await world.aws.ensure(podCIDR, "172.31.9.9");
  deepEqual([eni, routeTableId], ["eni-3", "rtb-3"]);
  equal(world.ec2.asked.includes("ModifyNetworkInterfaceAttribute"), true);
  deepEqual(world.ec2.enis.map(({ check }) => check), [true, false, false]);
});

Deno.test("Aws names the action that the role may not", async () => {
  for (
    const action of [
      "DescribeInstances",
      "ModifyInstanceAttribute",
      "DescribeRouteTables",
      "CreateRoute",
      "ReplaceRoute",
    ]
  ) {
    await using world = new World();
    if (action === "ReplaceRoute") {
      world.ec2.table("rtb-own").routes.push({ destination: podCIDR, eni: "eni-2" });
    }
    world.ec2.denied.add(action);
    await rejects(world.aws.ensure(podCIDR, address), {
      name: "VpcError",
      message:
        `the instance's role may not ec2:${action}; allow it in the role's policy (docs/aws.md)`,
    });
  }
});

Deno.test("Aws tries again when EC2 throttles, and gives up in the end", async () => {
  await using world = new World(3);
  const throttle = (count: number) => {
    for (let i = 0; i < count; i++) {
      world.ec2.faults.push({ action: "CreateRoute", code: "RequestLimitExceeded" });
    }
  };
  throttle(2);
  await world.aws.ensure(podCIDR, address);
  equal(world.ec2.asked.filter((action) => action === "CreateRoute").length, 3);
  world.ec2.table("rtb-own").routes = [];
  throttle(9);
  await rejects(
    world.aws.ensure(podCIDR, address),
    /EC2 throttles CreateRoute; it is tried again later/,
  );
});

Deno.test("Aws says what to do about a full table, a podCIDR of the VPC, bad credentials, no role", async () => {
  await using world = new World();
  world.ec2.routesPerTable = 3;
  await rejects(world.aws.ensure(podCIDR, address), /the route table is full .*raise the quota/);
  await rejects(world.aws.ensure("172.31.0.0/16", address), /is the network of the VPC itself/);
  world.ec2.keys.set("AKIDEXAMPLE", "another");
  await rejects(
    world.aws.ensure(podCIDR, address),
    /refused the credentials at DescribeInstances \(AuthFailure: .*signature does not match/,
  );
  await using other = new World();
  other.imds.role = undefined;
  await rejects(other.aws.ensure(podCIDR, address), /no IAM role; attach one/);
});

Deno.test("Aws.remove() takes away its own route and turns the check on again; what is another's stays", async () => {
  await using world = new World();
  const state = await world.aws.ensure(podCIDR, address);
  deepEqual(await world.aws.remove(state), [
    "route 10.244.1.0/24 deleted from rtb-own",
    "source/destination check of eni-1 turned on again",
  ]);
  equal(world.routeOf("rtb-own"), undefined);
  equal(world.ec2.enis[0]!.check, true);
  deepEqual(await world.aws.remove(state), [], "a second time there is nothing to do");
  world.ec2.table("rtb-own").routes.push({ destination: podCIDR, eni: "eni-2" });
  deepEqual(await world.aws.remove(state), []);
  equal(world.routeOf("rtb-own")?.eni, "eni-2");
  deepEqual(await world.aws.remove({ ...state, routeTableId: "rtb-gone" }), []);
});

Deno.test("Aws.remove() leaves a check alone that was off before", async () => {
  await using world = new World();
  world.ec2.enis[0]!.check = false;
  const state = await world.aws.ensure(podCIDR, address);
  equal(state.checkTurnedOff, undefined);
  await world.aws.remove(state);
  equal(world.ec2.enis[0]!.check, false);
});
