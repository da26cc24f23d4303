import { deepEqual, equal, match } from "node:assert/strict";
import "../../../tests/support/libraries.ts";
import { Ec2Double } from "../../../tests/support/ec2.ts";
import { ImdsDouble } from "../../../tests/support/imds.ts";
import type { Change } from "../../model/state.ts";
import type { Log } from "../log.ts";
import { removeVpcRoute, Vpc } from "./vpc.ts";

const eni = { instance: "i-1", index: 0, address: "172.31.0.11", subnet: "subnet-1", vpc: "vpc-1" };

const modes = new Map<string, string | undefined>();

/** A Node, and its setting in effect. */
function node(name: string, vpcMode: string | undefined, podCIDR = "10.244.1.0/24"): Change {
  modes.set(name, vpcMode);
  return {
    type: "upsert",
    object: { kind: "Node", name, internalIPs: [eni.address], podCIDRs: [podCIDR] },
  };
}

/** An agent's Vpc against doubles of the cloud. */
class World implements AsyncDisposable {
  readonly ec2 = new Ec2Double();
  readonly imds = new ImdsDouble();
  readonly stateDir = Deno.makeTempDirSync({ prefix: "pcnk-t-vpc-" });
  readonly told: (string[] | undefined)[] = [];
  readonly said: string[] = [];
  /** Milliseconds between two syncs. */
  everyMs = 50;
  #waiting: () => void = () => {};
  #running: Vpc[] = [];

  constructor() {
    this.ec2.enis.push({ id: "eni-1", ...eni, check: true }, {
      ...eni,
      id: "eni-2",
      instance: "i-2",
      check: false,
    });
    const routes = [{ destination: "10.244.2.0/24", eni: "eni-2" }];
    this.ec2.tables.push({ id: "rtb-1", vpc: "vpc-1", main: true, subnets: [], routes });
  }

  get aws() {
    return {
      imds: { endpoint: this.imds.url },
      endpoint: this.ec2.url,
      env: () => undefined,
      attempts: 1,
    };
  }

  start(...changes: Change[]): Vpc {
    const say = (_: unknown, text: string) => {
      this.said.push(text);
      this.#waiting();
    };
    const vpc = new Vpc({
      nodeName: "n1",
      stateDir: this.stateDir,
      settingsOf: (name) => ({ vpcMode: modes.get(name) }),
      log: { info: say, warn: say } as unknown as Log,
      changed: (routes) => {
        this.told.push(routes && [...routes]);
        this.#waiting();
      },
      everyMs: this.everyMs,
      aws: this.aws,
    });
    this.#running.push(vpc);
    vpc.changes(changes);
    vpc.start();
    return vpc;
  }

  async until(what: string, wanted: () => boolean) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => reject(new Error(`${what}: ${this.said} ${JSON.stringify(this.told)}`)),
      10_000,
    );
    this.#waiting = () => wanted() && resolve();
    this.#waiting();
    await promise.finally(() => clearTimeout(timer));
  }

  routes(): string[] {
    return this.ec2.table("rtb-1").routes.map(({ destination, eni }) => `${destination} ${eni}`);
  }

  async [Symbol.asyncDispose]() {
    for (const vpc of this.#running) await vpc.stop();
    await this.ec2[Symbol.asyncDispose]();
    await this.imds[Symbol.asyncDispose]();
    Deno.removeSync(this.stateDir, { recursive: true });
  }
}

const both = ["10.244.1.0/24", "10.244.2.0/24"];

Deno.test("Vpc sets the cloud up while vpcMode says so, tells its ways, and takes all back when it does not", async () => {
  await using world = new World();
  const vpc = world.start(node("n1", undefined));
  vpc.changes([node("n1", "aws")]);
  await world.until("set up", () => world.told.length === 1);
  deepEqual(world.told, [both]);
  deepEqual(world.routes(), ["10.244.2.0/24 eni-2", "10.244.1.0/24 eni-1"]);
  world.ec2.table("rtb-1").routes.push({ destination: "10.244.3.0/24", eni: "eni-2" });
  await world.until("another node's route", () => world.told.length === 2);
  deepEqual(world.told[1], [...both, "10.244.3.0/24"]);
  vpc.changes([node("n1", "aws", "10.244.9.0/24")]);
  await world.until("another podCIDR", () => world.told.at(-1)?.includes("10.244.9.0/24") ?? false);
  equal(world.routes().includes("10.244.1.0/24 eni-1"), false);
  modes.set("n1", "");
  vpc.settingsChanged(["n1"]);
  await world.until("taken back", () => world.said.some((text) => /turned on again/.test(text)));
  equal(world.told.at(-1), undefined);
  deepEqual(world.routes(), ["10.244.2.0/24 eni-2", "10.244.3.0/24 eni-2"]);
  equal(world.ec2.enis[0]!.check, true);
});

Deno.test("Vpc sets the cloud up at once when its setting changes, without waiting for the next sync", async () => {
  await using world = new World();
  world.everyMs = 3_600_000;
  const vpc = world.start(node("n1", undefined));
  modes.set("n1", "aws");
  vpc.settingsChanged(["n1"]);
  await world.until("set up", () => world.told.length === 1);
});

Deno.test("Vpc begins with what was known before, while the cloud does not answer, and says what is wrong", async () => {
  await using world = new World();
  const first = world.start(node("n1", "aws"));
  await world.until("set up", () => world.told.length === 1);
  await first.stop();
  world.told.length = world.said.length = 0;
  world.ec2.denied.add("DescribeRouteTables");
  const second = world.start(node("n1", "aws"));
  deepEqual(world.told, [both], "at once");
  await world.until("a complaint", () => world.said.length > 0);
  match(
    world.said[0]!,
    /^vpcMode aws: the instance's role may not ec2:DescribeRouteTables; allow it/,
  );
  match(second.failing?.reason ?? "", /DescribeRouteTables/);
  deepEqual(world.told, [both], "what was known stays");
});

Deno.test("removeVpcRoute() takes away what an agent left, once, and nothing where there was none", async () => {
  await using world = new World();
  deepEqual(await removeVpcRoute(world.stateDir, world.aws), []);
  const vpc = world.start(node("n1", "aws"));
  await world.until("set up", () => world.told.length === 1);
  await vpc.stop();
  match(
    (await removeVpcRoute(world.stateDir, world.aws)).join(),
    /10\.244\.1\.0\/24 deleted.*turned on again/,
  );
  deepEqual(world.routes(), ["10.244.2.0/24 eni-2"]);
  deepEqual(await removeVpcRoute(world.stateDir, world.aws), []);
});
