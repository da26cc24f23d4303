/**
 * The network of AWS as the way between nodes: the VPC routes a node's podCIDR to its instance. This module holds the SDK
 * and is imported only when a node asks for it.
 *
 * Limitations: one podCIDR a node, IPv4. A route table holds 50 routes unless its quota is raised; when it is full, the node is
 * reached through the overlay. Nodes whose subnets have route tables of their own are reached through it too: each node
 * writes to the table of its own subnet, and looks in that one for the others.
 */
import {
  CreateRouteCommand,
  DeleteRouteCommand,
  DescribeInstancesCommand,
  DescribeRouteTablesCommand,
  type Filter,
  type InstanceNetworkInterface,
  ModifyInstanceAttributeCommand,
  ModifyNetworkInterfaceAttributeCommand,
  ReplaceRouteCommand,
  type Route,
  type RouteTable,
} from "@aws-sdk/client-ec2";
import { type AwsOptions, Ec2 } from "./ec2.ts";
import { VpcError } from "./errors.ts";

export type { AwsOptions };

/** What was set up, and what has to be known to take it away again. */
interface VpcRoute {
  region: string;
  routeTableId: string;
  /** Network interface of this instance that the route leads to. */
  eni: string;
  podCIDR: string;
  /** Undefined: it was off before, or is another's business. */
  checkTurnedOff?: { instanceId: string };
}

/** How things stand. */
interface VpcState extends VpcRoute {
  /** Destinations that the table leads to instances, this one's too. */
  routes: string[];
  /** What was done this time, in words; empty: nothing. */
  done: string[];
}

export class Aws {
  readonly #ec2: Ec2;

  constructor(options: AwsOptions = {}) {
    this.#ec2 = new Ec2(options);
  }

  close() {
    this.#ec2.close();
  }

  /**
   * Brings the VPC to where it sends packets for `podCIDR` to this instance.
   *
   * @param address this node's InternalIP: it says which network interface, where there are several
   * @throws {VpcError} in one line: what failed, and what to do
   */
  async ensure(podCIDR: string, address: string, before?: VpcRoute): Promise<VpcState> {
    const { instanceId, region } = await this.#ec2.identity();
    const { eni, interfaces } = await this.#networkInterface(region, instanceId, address);
    const done: string[] = [];
    if (eni.SourceDestCheck !== false) {
      await this.#turnCheck(region, instanceId, eni.NetworkInterfaceId!, interfaces, false);
      done.push(`source/destination check of ${eni.NetworkInterfaceId} turned off`);
    }
    const table = await this.#routeTable(region, eni.SubnetId!, eni.VpcId!);
    const routeTableId = table.RouteTableId!;
    const did = await this.#route(region, table, podCIDR, eni.NetworkInterfaceId!);
    if (did !== undefined) done.push(did);
    const turnedOff = eni.SourceDestCheck !== false || before?.checkTurnedOff !== undefined;
    const others = (table.Routes ?? []).filter(isToInstance).map(({ DestinationCidrBlock }) =>
      DestinationCidrBlock!
    );
    return {
      region,
      routeTableId,
      eni: eni.NetworkInterfaceId!,
      podCIDR,
      checkTurnedOff: turnedOff ? { instanceId } : undefined,
      routes: [...new Set([...others, podCIDR])].sort(),
      done,
    };
  }

  /**
   * Takes away what ensure() set up: the route if it still leads to this instance, and the check is on again if it was
   * turned off here. Nothing there is no error. Returns in words what was done.
   * @throws {VpcError}
   */
  async remove(
    { region, routeTableId, eni, podCIDR, checkTurnedOff }: VpcRoute,
  ): Promise<string[]> {
    const done: string[] = [];
    const table = await this.#tableById(region, routeTableId);
    const route = table?.Routes?.find((one) => one.DestinationCidrBlock === podCIDR);
    if (route?.NetworkInterfaceId === eni) {
      const gone = await this.#ec2.call(
        region,
        "DeleteRoute",
        (client) =>
          client.send(
            new DeleteRouteCommand({ RouteTableId: routeTableId, DestinationCidrBlock: podCIDR }),
          ),
        ["InvalidRoute.NotFound"],
      );
      if (gone !== undefined) done.push(`route ${podCIDR} deleted from ${routeTableId}`);
    }
    if (checkTurnedOff !== undefined) {
      const { instanceId } = checkTurnedOff;
      const all = await this.#interfaces(region, instanceId);
      if (
        all.some(({ NetworkInterfaceId, SourceDestCheck }) =>
          NetworkInterfaceId === eni && SourceDestCheck === false
        )
      ) {
        await this.#turnCheck(region, instanceId, eni, all.length, true);
        done.push(`source/destination check of ${eni} turned on again`);
      }
    }
    return done;
  }

  async #networkInterface(region: string, instanceId: string, address: string) {
    const all = await this.#interfaces(region, instanceId);
    const has = (one: InstanceNetworkInterface) =>
      one.PrivateIpAddress === address ||
      one.PrivateIpAddresses?.some(({ PrivateIpAddress }) => PrivateIpAddress === address);
    const eni = all.find(has) ?? all.find(({ Attachment }) => Attachment?.DeviceIndex === 0);
    if (
      eni?.NetworkInterfaceId === undefined || eni.SubnetId === undefined || eni.VpcId === undefined
    ) {
      throw new VpcError(
        `instance ${instanceId} has no network interface with ${address} in a VPC`,
      );
    }
    return { eni, interfaces: all.length };
  }

  async #interfaces(
    region: string,
    instanceId: string,
  ): Promise<InstanceNetworkInterface[]> {
    const answer = await this.#ec2.call(
      region,
      "DescribeInstances",
      (client) => client.send(new DescribeInstancesCommand({ InstanceIds: [instanceId] })),
    );
    return answer!.Reservations?.flatMap(({ Instances }) => Instances ?? [])
      .flatMap(({ NetworkInterfaces }) => NetworkInterfaces ?? []) ?? [];
  }

  /** By the instance where it has one interface only: that needs no more permissions than pcn-k8s' policy gives. */
  async #turnCheck(
    region: string,
    instanceId: string,
    eni: string,
    interfaces: number,
    on: boolean,
  ) {
    const SourceDestCheck = { Value: on };
    if (interfaces === 1) {
      await this.#ec2.call(
        region,
        "ModifyInstanceAttribute",
        (client) =>
          client.send(
            new ModifyInstanceAttributeCommand({ InstanceId: instanceId, SourceDestCheck }),
          ),
      );
    } else {
      await this.#ec2.call(
        region,
        "ModifyNetworkInterfaceAttribute",
        (client) =>
          client.send(
            new ModifyNetworkInterfaceAttributeCommand({
              NetworkInterfaceId: eni,
              SourceDestCheck,
            }),
          ),
      );
    }
  }

  /** The table of the subnet itself; the VPC's main one only where the subnet has none. */
  async #routeTable(region: string, subnet: string, vpc: string): Promise<RouteTable> {
    const [own] = await this.#tables(region, [{ Name: "association.subnet-id", Values: [subnet] }]);
    if (own !== undefined) return own;
    const [main] = await this.#tables(region, [
      { Name: "vpc-id", Values: [vpc] },
      { Name: "association.main", Values: ["true"] },
    ]);
    if (main !== undefined) return main;
    throw new VpcError(`neither subnet ${subnet} nor ${vpc} has a route table`);
  }

  async #tables(region: string, filters: Filter[]): Promise<RouteTable[]> {
    const found: RouteTable[] = [];
    let token: string | undefined;
    do {
      const NextToken: string | undefined = token;
      const answer = await this.#ec2.call(
        region,
        "DescribeRouteTables",
        (client) =>
          client.send(
            new DescribeRouteTablesCommand({
              Filters: filters,
              MaxResults: 100,
              NextToken,
            }),
          ),
      );
      found.push(...answer!.RouteTables ?? []);
      token = answer!.NextToken;
    } while (token);
    return found;
  }

  async #tableById(region: string, id: string): Promise<RouteTable | undefined> {
    const answer = await this.#ec2.call(
      region,
      "DescribeRouteTables",
      (client) => client.send(new DescribeRouteTablesCommand({ RouteTableIds: [id] })),
      ["InvalidRouteTableID.NotFound"],
    );
    return answer?.RouteTables?.[0];
  }

  /** Creates the route or leads it here; returns in words what was done. */
  async #route(
    region: string,
    { RouteTableId, Routes = [] }: RouteTable,
    podCIDR: string,
    eni: string,
  ) {
    const held = Routes.find(({ DestinationCidrBlock }) => DestinationCidrBlock === podCIDR);
    if (held?.NetworkInterfaceId === eni && held.State !== "blackhole") return undefined;
    if (held?.GatewayId === "local") {
      throw new VpcError(
        `podCIDR ${podCIDR} is the network of the VPC itself: pods need addresses that no subnet has`,
      );
    }
    const input = { RouteTableId, DestinationCidrBlock: podCIDR, NetworkInterfaceId: eni };
    const create = (allowed: string[]) =>
      this.#ec2.call(
        region,
        "CreateRoute",
        (client) => client.send(new CreateRouteCommand(input)),
        allowed,
      );
    const replace = (allowed: string[]) =>
      this.#ec2.call(
        region,
        "ReplaceRoute",
        (client) => client.send(new ReplaceRouteCommand(input)),
        allowed,
      );
    const where = `route ${podCIDR} to ${eni}`;
    // What was listed a moment ago may have come or gone since.
    const isOurs = held !== undefined && held.Origin !== "EnableVgwRoutePropagation";
    if (isOurs) {
      const was = held.NetworkInterfaceId ?? held.GatewayId ?? held.NatGatewayId ??
        "another target";
      if (await replace(["InvalidRoute.NotFound", "InvalidParameterValue"]) !== undefined) {
        return `${where} in ${RouteTableId}, in the place of one to ${was}`;
      }
      await create([]);
    } else if (await create(["RouteAlreadyExists"]) === undefined) await replace([]);
    return `${where} in ${RouteTableId}`;
  }
}

/** A route to a network interface that works: what another node has set up. */
function isToInstance({ DestinationCidrBlock, NetworkInterfaceId, State }: Route): boolean {
  return DestinationCidrBlock !== undefined && NetworkInterfaceId !== undefined &&
    State === "active";
}
