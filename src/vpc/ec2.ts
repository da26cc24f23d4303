/** Calls to EC2 by the SDK: as whom, to where, and what its refusals mean. */
import { EC2Client } from "@aws-sdk/client-ec2";
import { asVpcError } from "./errors.ts";
import { FetchHandler } from "./fetch_handler.ts";
import { Imds, type ImdsOptions } from "./imds.ts";

export interface AwsOptions {
  imds?: ImdsOptions;
  /** Base URL of the EC2 API; undefined: as the SDK finds it. */
  endpoint?: string;
  env?: (name: string) => string | undefined;
  /** Tries of one call, with growing pauses: throttling, lost connections, errors of the server. */
  attempts?: number;
}

export class Ec2 {
  readonly #options: AwsOptions;
  readonly #imds: Imds;
  #client: EC2Client | undefined;

  constructor(options: AwsOptions) {
    this.#options = options;
    const endpoint = this.#env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    this.#imds = new Imds({ endpoint, ...options.imds });
  }

  close() {
    this.#client?.destroy();
  }

  /** Which instance this is, and where. @throws {VpcError} */
  identity(): ReturnType<Imds["identity"]> {
    return this.#imds.identity();
  }

  /** Undefined when EC2 refused with one of the allowed codes. @throws {VpcError} */
  async call<T>(
    region: string,
    action: string,
    ask: (client: EC2Client) => Promise<T>,
    allowed: readonly string[] = [],
  ): Promise<T | undefined> {
    try {
      return await ask(this.#connect(region));
    } catch (error) {
      if (allowed.includes((error as Error).name)) return undefined;
      throw asVpcError(action, error);
    }
  }

  #connect(region: string): EC2Client {
    const { endpoint, attempts = 6 } = this.#options;
    return this.#client ??= new EC2Client({
      region,
      credentials: () => this.#credentials(),
      maxAttempts: attempts,
      requestHandler: new FetchHandler(),
      endpoint,
    });
  }

  /** Those of the environment, or of the instance's role. */
  async #credentials() {
    const accessKeyId = this.#env("AWS_ACCESS_KEY_ID"),
      secretAccessKey = this.#env("AWS_SECRET_ACCESS_KEY");
    if (!accessKeyId || !secretAccessKey) return await this.#imds.credentials();
    return {
      accessKeyId,
      secretAccessKey,
      sessionToken: this.#env("AWS_SESSION_TOKEN") || undefined,
    };
  }

  #env(name: string): string | undefined {
    return (this.#options.env ?? ((key) => Deno.env.get(key)))(name);
  }
}
