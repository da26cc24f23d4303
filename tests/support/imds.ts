/** A double of EC2's instance metadata service that takes version 2 only. */

export class ImdsDouble implements AsyncDisposable {
  instanceId = "i-1";
  region = "eu-central-1";
  role: string | undefined = "pcnk-node";
  credentials = { AccessKeyId: "AKIDEXAMPLE", SecretAccessKey: "secret", Token: "session" };
  /** The service as modify-instance-metadata-options leaves it. */
  disabled = false;
  /** Tokens never arrive: the hop limit is too low. */
  silent = false;
  /** Answers 500 so often. */
  failing = 0;
  readonly asked: string[] = [];
  private readonly tokens = new Set<string>();
  private readonly server: Deno.HttpServer<Deno.NetAddr>;
  private readonly held = Promise.withResolvers<void>();

  constructor() {
    this.server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => this.answer(request),
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.server.addr.port}`;
  }

  /** Tokens that were given are not known any more. */
  forget() {
    this.tokens.clear();
  }

  async [Symbol.asyncDispose]() {
    this.held.resolve();
    await this.server.shutdown();
  }

  private async answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    this.asked.push(`${request.method} ${pathname}`);
    if (this.disabled) return new Response("", { status: 403 });
    if (this.failing > 0 && this.failing-- > 0) return new Response("", { status: 500 });
    if (pathname === "/latest/api/token") return await this.giveToken(request);
    if (request.method !== "GET") return new Response("", { status: 405 });
    if (!this.tokens.has(request.headers.get("x-aws-ec2-metadata-token") ?? "")) {
      return new Response("", { status: 401 });
    }
    const { instanceId, region, role } = this;
    if (pathname === "/latest/dynamic/instance-identity/document") {
      return Response.json({ instanceId, region, version: "2017-09-30" });
    }
    const folder = "/latest/meta-data/iam/security-credentials/";
    if (role !== undefined && pathname === folder) return new Response(role);
    if (role !== undefined && pathname === folder + role) {
      return Response.json({
        Code: "Success",
        ...this.credentials,
        Expiration: new Date(Date.now() + 3_600_000).toISOString(),
      });
    }
    return new Response("", { status: 404 });
  }

  private async giveToken(request: Request): Promise<Response> {
    if (this.silent) await this.held.promise;
    const seconds = Number(request.headers.get("x-aws-ec2-metadata-token-ttl-seconds"));
    if (
      request.method !== "PUT" || !(seconds >= 1 && seconds <= 21_600) ||
      request.headers.has("x-forwarded-for")
    ) {
      return new Response("", { status: 400 });
    }
    const token = crypto.randomUUID();
    this.tokens.add(token);
    return new Response(token);
  }
}
