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
      if (at >= 0) refuse(this.faults.splice(at, 1)[0]!.code, "Request limit exceeded.", 503);
      const act = this.actions[action] ??
        refuse("InvalidAction", `The action ${action} is not valid for this web service.`);
      const xmlns = "http://ec2.amazonaws.com/doc/2016-11-15/";
      const content = tag("requestId", "r") + act(form);
      return xml(200, `<${action}Response xmlns="${xmlns}">${content}</${action}Response>`);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const errors = tag(
        "Errors",
        tag("Error", tags({ Code: error.code, Message: error.message })),
      );
      return xml(error.status, tag("Response", errors + tag("RequestID", "r")));
    }
  }

  private admit(request: Request, body: string, form: Form, action: string) {
    if (request.method !== "POST") refuse("InvalidAction", "POST only");
    if (form.get("Version") !== "2016-11-15") {
      refuse("NoSuchVersion", "The requested version is not valid");
    }
    const scope = { region: this.region, service: "ec2" };
    const problem = signatureProblem(request, body, (key) => this.keys.get(key), scope);
    if (problem !== undefined) {
      const what = "AWS was not able to validate the provided access credentials";
      refuse("AuthFailure", `${what} (${problem})`, 401);
    }
    if (this.denied.has(action)) {
      const who = "User: arn:aws:sts::1:assumed-role/x";
      const what = `${who} is not authorized to perform: ec2:${action}`;
      refuse(
        "UnauthorizedOperation",
        `You are not authorized to perform this operation. ${what}`,
        403,
      );
    }
    if (form.get("DryRun") === "true") {
      refuse("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412);
    }
  }

  private readonly actions: Record<string, (form: Form) => string> = {
    DescribeInstances: (form) => {
      const id = form.get("InstanceId.1") ?? "";
      const own = this.enis.filter(({ instance }) => instance === id);
      if (own.length === 0) {
        refuse("InvalidInstanceID.NotFound", `The instance ID '${id}' does not exist`);
      }
      const networkInterfaceSet = own.map(eniXml).join("");
      const instance = tag("item", tags({ instanceId: id, networkInterfaceSet }));
      return tag("reservationSet", tag("item", tag("instancesSet", instance)));
    },
    DescribeRouteTables: (form) => this.describeTables(form),
    ModifyInstanceAttribute: (form) => {
      const own = this.enis.filter(({ instance }) => instance === form.get("InstanceId"));
      if (own.length > 1) {
        const what = "There are multiple interfaces attached to the instance.";
        refuse(
          "InvalidInstanceID",
          `${what} Please specify an interface ID for the operation instead.`,
        );
      }
      own[0]!.check = form.get("SourceDestCheck.Value") === "true";
      return DONE;
    },
    ModifyNetworkInterfaceAttribute: (form) => {
      this.eni(form).check = form.get("SourceDestCheck.Value") === "true";
      return DONE;
    },
    CreateRoute: (form) => {
      const { table, destination, at } = this.about(form);
      const eni = this.eni(form).id;
      if (at >= 0) {
        refuse("RouteAlreadyExists", `The route identified by ${destination} already exists.`);
      }
      if (table.routes.length >= this.routesPerTable) {
        refuse("RouteLimitExceeded", "The maximum number of routes has been reached.");
      }
      table.routes.push({ destination, eni });
      return DONE;
    },
    ReplaceRoute: (form) => {
      const { table, destination, at } = this.about(form);
      const eni = this.eni(form).id;
      if (at < 0) {
        const what = `There is no route defined for '${destination}' in the route table.`;
        refuse("InvalidParameterValue", `${what} Use CreateRoute instead.`);
      }
      table.routes[at] = { destination, eni };
      return DONE;
    },
    DeleteRoute: (form) => {
      const { table, destination, at } = this.about(form);
      if (at < 0) {
        const what = `no route with destination-cidr-block ${destination}`;
        refuse("InvalidRoute.NotFound", `${what} in route table ${table.id}`);
      }
      table.routes.splice(at, 1);
      return DONE;
    },
  };

  private describeTables(form: Form): string {
    const ids = list(form, (i) => `RouteTableId.${i}`);
    const missing = ids.find((id) => this.table(id) === undefined);
    if (missing !== undefined) {
      refuse("InvalidRouteTableID.NotFound", `The routeTable ID '${missing}' does not exist`);
    }
    if (ids.length > 0 && form.has("MaxResults")) {
      refuse("InvalidParameterCombination", "MaxResults with ids");
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
    const next = from + page.length;
    const routeTableSet = page.map(tableXml).join("");
    return tags({ routeTableSet, nextToken: next < found.length ? `${next}` : undefined });
  }

  /** Table and destination of a call; checked. */
  private about(form: Form) {
    const id = form.get("RouteTableId") ?? "", destination = form.get("DestinationCidrBlock") ?? "";
    const table = this.table(id) ??
      refuse("InvalidRouteTableID.NotFound", `The routeTable ID '${id}' does not exist`);
    const at = table.routes.findIndex((one) =>
      one.destination === destination && one.origin !== "EnableVgwRoutePropagation"
    );
    return { table, destination, at };
  }

  /** The interface that a call names. */
  private eni(form: Form): EniDouble {
    const id = form.get("NetworkInterfaceId");
    return this.enis.find((eni) => eni.id === id) ??
      refuse(
        "InvalidNetworkInterfaceID.NotFound",
        `The networkInterface ID '${id}' does not exist`,
      );
  }
}

class Refusal extends Error {
  constructor(readonly code: string, message: string, readonly status: number) {
    super(message);
  }
}

function refuse(code: string, message: string, status = 400): never {
  throw new Refusal(code, message, status);
}

const tag = (name: string, content: string) => `<${name}>${content}</${name}>`;

/** An element for each member that is there. */
function tags(members: Record<string, string | undefined>): string {
  return Object.entries(members)
    .map(([name, content]) => content === undefined ? "" : tag(name, content)).join("");
}

const DONE = tag("return", "true");

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
  { subnets, vpc, main }: TableDouble,
  { name, values }: { name: string; values: string[] },
): boolean {
  if (name === "association.subnet-id") return subnets.some((subnet) => values.includes(subnet));
  if (name === "vpc-id") return values.includes(vpc);
  if (name === "association.main") return values.includes(String(main === true));
  return refuse("InvalidParameterValue", `The filter '${name}' is invalid`);
}

function eniXml({ id, subnet, vpc, address, check, index }: EniDouble): string {
  const privateIpAddress = address;
  return tag(
    "item",
    tags({
      networkInterfaceId: id,
      subnetId: subnet,
      vpcId: vpc,
      privateIpAddress,
      sourceDestCheck: String(check),
      attachment: tag("deviceIndex", String(index)),
      privateIpAddressesSet: tag("item", tags({ privateIpAddress })),
    }),
  );
}

function tableXml({ id, vpc, main, subnets, routes }: TableDouble): string {
  const associations = [
    ...(main ? [tags({ main: "true" })] : []),
    ...subnets.map((subnet) => tags({ subnetId: subnet, main: "false" })),
  ];
  const items = routes.map(({ destination, gateway, eni, state, origin }) =>
    tags({
      destinationCidrBlock: destination,
      gatewayId: gateway,
      networkInterfaceId: eni,
      instanceId: eni && `i-of-${eni}`,
      state: state ?? "active",
      origin: origin ?? "CreateRoute",
    })
  );
  const set = (list: string[]) => list.map((item) => tag("item", item)).join("");
  const members = { routeTableId: id, vpcId: vpc, routeSet: set(items) };
  return tag("item", tags({ ...members, associationSet: set(associations) }));
}
