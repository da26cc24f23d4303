/**
 * A double of EC2's query API over HTTP that keeps its rules, for the calls pcnk makes: signatures, filters, pages,
 * what may be created, replaced and deleted, permissions, throttling. Answers are XML as in the API reference,
 * https://docs.aws.amazon.com/AWSEC2/latest/APIReference/.
 */
import { signatureProblem } from "./sigv4.ts";

interface RouteDouble {
  destination: string;
  gateway?: string;
  eni?: string;
  state?: "active" | "blackhole";
  origin?: "CreateRoute" | "CreateRouteTable" | "EnableVgwRoutePropagation";
}

interface TableDouble {
  id: string;
  vpc: string;
  main?: boolean;
  subnets: string[];
  routes: RouteDouble[];
}

interface EniDouble {
  id: string;
  instance: string;
  index: number;
  address: string;
  subnet: string;
  vpc: string;
  check: boolean;
}

interface Refusal {
  status: number;
  code: string;
  message: string;
}

type Form = URLSearchParams;

export class Ec2Double implements AsyncDisposable {
  readonly tables: TableDouble[] = [];
  readonly enis: EniDouble[] = [];
  /** Actions that the role may not. */
  readonly denied = new Set<string>();
  /** Codes that the next calls of an action are refused with, in order. */
  readonly faults: { action: string; code: string }[] = [];
  /** Names of the actions that were asked for and signed well. */
  readonly asked: string[] = [];
  /** Access keys and their secrets. */
  readonly keys = new Map([["AKIDEXAMPLE", "secret"]]);
  /** Called before an action is answered, for races. */
  before: (action: string) => void = () => {};
  pageSize = 2;
  routesPerTable = 50;
  private readonly server: Deno.HttpServer<Deno.NetAddr>;

  constructor(readonly region = "eu-central-1") {
    this.server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => this.answer(request),
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.server.addr.port}`;
  }

  table(id: string): TableDouble {
    return this.tables.find((one) => one.id === id)!;
  }

  async [Symbol.asyncDispose]() {
    await this.server.shutdown();
  }

  private async answer(request: Request): Promise<Response> {
    const body = await request.text();
    const form = new URLSearchParams(body);
    const action = form.get("Action") ?? "";
    try {
      this.admit(request, body, form, action);
      this.asked.push(action);
      this.before(action);
      const at = this.faults.findIndex((fault) => fault.action === action);
      if (at >= 0) {
        const { code } = this.faults.splice(at, 1)[0]!;
        throw refuse(code, "Request limit exceeded.", 503);
      }
      const content = this.act(action, form);
      return xml(
        200,
        `<${action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>${content}</${action}Response>`,
      );
    } catch (error) {
      const { status, code, message } = error as Refusal;
      if (code === undefined) throw error;
      return xml(
        status,
        `<Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors><RequestID>r</RequestID></Response>`,
      );
    }
  }

  private admit(request: Request, body: string, form: Form, action: string) {
    if (request.method !== "POST") throw refuse("InvalidAction", "POST only");
    if (form.get("Version") !== "2016-11-15") {
      throw refuse("NoSuchVersion", "The requested version is not valid");
    }
    const scope = { region: this.region, service: "ec2" };
    const problem = signatureProblem(request, body, (key) => this.keys.get(key), scope);
    if (problem !== undefined) {
      throw refuse(
        "AuthFailure",
        `AWS was not able to validate the provided access credentials (${problem})`,
        401,
      );
    }
    if (this.denied.has(action)) {
      throw refuse(
        "UnauthorizedOperation",
        `You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/x is not authorized to perform: ec2:${action}`,
        403,
      );
    }
    if (form.get("DryRun") === "true") {
      throw refuse("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412);
    }
  }

  private act(action: string, form: Form): string {
    switch (action) {
      case "DescribeInstances":
        return this.describeInstances(form);
      case "DescribeRouteTables":
        return this.describeTables(form);
      case "ModifyInstanceAttribute":
        return this.modifyInstance(form);
      case "ModifyNetworkInterfaceAttribute":
        return this.modifyEni(form);
      case "CreateRoute":
        return this.createRoute(form);
      case "ReplaceRoute":
        return this.replaceRoute(form);
      case "DeleteRoute":
        return this.deleteRoute(form);
    }
    throw refuse("InvalidAction", `The action ${action} is not valid for this web service.`);
  }

  private describeInstances(form: Form): string {
    const id = form.get("InstanceId.1") ?? "";
    const own = this.enis.filter(({ instance }) => instance === id);
    if (own.length === 0) {
      throw refuse("InvalidInstanceID.NotFound", `The instance ID '${id}' does not exist`);
    }
    const interfaces = own.map((eni) =>
      `<item><networkInterfaceId>${eni.id}</networkInterfaceId><subnetId>${eni.subnet}</subnetId><vpcId>${eni.vpc}</vpcId>` +
      `<privateIpAddress>${eni.address}</privateIpAddress><sourceDestCheck>${eni.check}</sourceDestCheck>` +
      `<attachment><deviceIndex>${eni.index}</deviceIndex></attachment>` +
      `<privateIpAddressesSet><item><privateIpAddress>${eni.address}</privateIpAddress></item></privateIpAddressesSet></item>`
    );
    return `<reservationSet><item><instancesSet><item><instanceId>${id}</instanceId>` +
      `<networkInterfaceSet>${
        interfaces.join("")
      }</networkInterfaceSet></item></instancesSet></item></reservationSet>`;
  }

  private describeTables(form: Form): string {
    const ids = list(form, (i) => `RouteTableId.${i}`);
    const missing = ids.find((id) => this.table(id) === undefined);
    if (missing !== undefined) {
      throw refuse("InvalidRouteTableID.NotFound", `The routeTable ID '${missing}' does not exist`);
    }
    if (ids.length > 0 && form.has("MaxResults")) {
      throw refuse("InvalidParameterCombination", "MaxResults with ids");
    }
    const filters = list(form, (i) => `Filter.${i}.Name`).map((name, i) => ({
      name,
      values: list(form, (j) => `Filter.${i + 1}.Value.${j}`),
    }));
    const found = this.tables.filter((table) =>
      (ids.length === 0 || ids.includes(table.id)) &&
      filters.every((filter) => matches(table, filter))
    );
    const from = Number(form.get("NextToken") ?? 0);
    const page = ids.length > 0 ? found : found.slice(from, from + this.pageSize);
    const next = from + page.length < found.length
      ? `<nextToken>${from + page.length}</nextToken>`
      : "";
    return `<routeTableSet>${page.map(tableXml).join("")}</routeTableSet>${next}`;
  }

  private modifyInstance(form: Form): string {
    const own = this.enis.filter(({ instance }) => instance === form.get("InstanceId"));
    if (own.length > 1) {
      throw refuse(
        "InvalidInstanceID",
        "There are multiple interfaces attached to the instance. Please specify an interface ID for the operation instead.",
      );
    }
    own[0]!.check = form.get("SourceDestCheck.Value") === "true";
    return "<return>true</return>";
  }

  private modifyEni(form: Form): string {
    const eni = this.enis.find(({ id }) => id === form.get("NetworkInterfaceId"));
    if (eni === undefined) throw refuse("InvalidNetworkInterfaceID.NotFound", "does not exist");
    eni.check = form.get("SourceDestCheck.Value") === "true";
    return "<return>true</return>";
  }

  /** Table, destination and target of a call; checked. */
  private about(form: Form) {
    const id = form.get("RouteTableId") ?? "", destination = form.get("DestinationCidrBlock") ?? "";
    const table = this.table(id);
    if (table === undefined) {
      throw refuse("InvalidRouteTableID.NotFound", `The routeTable ID '${id}' does not exist`);
    }
    const at = table.routes.findIndex((one) =>
      one.destination === destination && one.origin !== "EnableVgwRoutePropagation"
    );
    return { table, destination, at, eni: form.get("NetworkInterfaceId") ?? "" };
  }

  private target(eni: string) {
    const found = this.enis.find(({ id }) => id === eni);
    if (found === undefined) {
      throw refuse(
        "InvalidNetworkInterfaceID.NotFound",
        `The networkInterface ID '${eni}' does not exist`,
      );
    }
  }

  private createRoute(form: Form): string {
    const { table, destination, at, eni } = this.about(form);
    this.target(eni);
    if (at >= 0) {
      throw refuse("RouteAlreadyExists", `The route identified by ${destination} already exists.`);
    }
    if (table.routes.length >= this.routesPerTable) {
      throw refuse("RouteLimitExceeded", "The maximum number of routes has been reached.");
    }
    table.routes.push({ destination, eni });
    return "<return>true</return>";
  }

  private replaceRoute(form: Form): string {
    const { table, destination, at, eni } = this.about(form);
    this.target(eni);
    if (at < 0) {
      throw refuse(
        "InvalidParameterValue",
        `There is no route defined for '${destination}' in the route table. Use CreateRoute instead.`,
      );
    }
    table.routes[at] = { destination, eni };
    return "<return>true</return>";
  }

  private deleteRoute(form: Form): string {
    const { table, destination, at } = this.about(form);
    if (at < 0) {
      throw refuse(
        "InvalidRoute.NotFound",
        `no route with destination-cidr-block ${destination} in route table ${table.id}`,
      );
    }
    table.routes.splice(at, 1);
    return "<return>true</return>";
  }
}

function refuse(code: string, message: string, status = 400): Refusal {
  return { status, code, message };
}

function xml(status: number, body: string): Response {
  return new Response(`<?xml version="1.0" encoding="UTF-8"?>\n${body}`, {
    status,
    headers: { "content-type": "text/xml;charset=UTF-8" },
  });
}

function list(form: Form, key: (index: number) => string): string[] {
  const found: string[] = [];
  for (let i = 1; form.has(key(i)); i++) found.push(form.get(key(i))!);
  return found;
}

function matches(
  table: TableDouble,
  { name, values }: { name: string; values: string[] },
): boolean {
  switch (name) {
    case "association.subnet-id":
      return table.subnets.some((subnet) => values.includes(subnet));
    case "vpc-id":
      return values.includes(table.vpc);
    case "association.main":
      return values.includes(String(table.main === true));
  }
  throw refuse("InvalidParameterValue", `The filter '${name}' is invalid`);
}

function tableXml({ id, vpc, main, subnets, routes }: TableDouble): string {
  const associations = [
    ...(main ? ["<item><main>true</main></item>"] : []),
    ...subnets.map((subnet) => `<item><subnetId>${subnet}</subnetId><main>false</main></item>`),
  ];
  const items = routes.map((
    { destination, gateway, eni, state = "active", origin = "CreateRoute" },
  ) =>
    `<item><destinationCidrBlock>${destination}</destinationCidrBlock>` +
    (gateway === undefined ? "" : `<gatewayId>${gateway}</gatewayId>`) +
    (eni === undefined
      ? ""
      : `<networkInterfaceId>${eni}</networkInterfaceId><instanceId>i-of-${eni}</instanceId>`) +
    `<state>${state}</state><origin>${origin}</origin></item>`
  );
  return `<item><routeTableId>${id}</routeTableId><vpcId>${vpc}</vpcId>` +
    `<routeSet>${items.join("")}</routeSet><associationSet>${
      associations.join("")
    }</associationSet></item>`;
}
