/**
 * The instance metadata service of EC2, version 2 only: a token by PUT, then questions with it. Version 1 is not tried: who
 * turned it off did so for a reason.
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
 */

/** The service does not answer, or not properly. One line, with what to do. */
export class ImdsError extends Error {
  override readonly name = "ImdsError";
}

/** What the instance knows of itself. */
interface Identity {
  instanceId: string;
  region: string;
}

/** Credentials of the instance's role. */
interface RoleCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string;
  expiration: Date;
}

export interface ImdsOptions {
  /** Base URL. */
  endpoint?: string;
  /** Milliseconds for an answer: the service is on the host itself. */
  timeoutMs?: number;
  attempts?: number;
}

const tokenSeconds = 21_600;

export class Imds {
  readonly #endpoint: string;
  readonly #timeoutMs: number;
  readonly #attempts: number;
  #token: { text: string; until: number } | undefined;

  constructor({ endpoint, timeoutMs = 1000, attempts = 3 }: ImdsOptions = {}) {
    this.#endpoint = (endpoint ?? "http://169.254.169.254").replace(/\/+$/, "");
    this.#timeoutMs = timeoutMs;
    this.#attempts = attempts;
  }

  /** @throws {ImdsError} */
  async identity(): Promise<Identity> {
    const found = await this.#json("dynamic/instance-identity/document");
    const { instanceId, region } = found;
    if (typeof instanceId !== "string" || typeof region !== "string") {
      throw new ImdsError(
        "instance metadata names no instance and region; is this an EC2 instance?",
      );
    }
    return { instanceId, region };
  }

  /** @throws {ImdsError} when the instance has no role, or the service does not answer */
  async credentials(): Promise<RoleCredentials> {
    const folder = "meta-data/iam/security-credentials/";
    const role = (await this.#get(folder, "the instance has no IAM role; attach one (docs/aws.md)"))
      .trim()
      .split("\n")[0]!;
    const found = await this.#json(folder + encodeURIComponent(role));
    const { AccessKeyId, SecretAccessKey, Token, Expiration } = found;
    if (
      ![AccessKeyId, SecretAccessKey, Token, Expiration].every((one) => typeof one === "string")
    ) {
      throw new ImdsError(
        `instance metadata has no credentials for role ${role}: ${found.Code ?? "?"}`,
      );
    }
    return {
      accessKeyId: AccessKeyId as string,
      secretAccessKey: SecretAccessKey as string,
      sessionToken: Token as string,
      expiration: new Date(Expiration as string),
    };
  }

  async #json(path: string): Promise<Record<string, unknown>> {
    try {
      return JSON.parse(await this.#get(path));
    } catch (error) {
      if (error instanceof ImdsError) throw error;
      throw new ImdsError(`instance metadata ${path} is not JSON`);
    }
  }

  async #get(path: string, missing?: string): Promise<string> {
    const ask = async () =>
      await this.#fetch("GET", path, { "x-aws-ec2-metadata-token": await this.#currentToken() });
    let response = await ask();
    if (response.status === 401) {
      await response.body?.cancel();
      this.#token = undefined;
      response = await ask();
    }
    const text = await response.text();
    if (response.ok) return text;
    if (response.status === 404 && missing !== undefined) throw new ImdsError(missing);
    throw new ImdsError(`instance metadata ${path} answered ${response.status}`);
  }

  async #currentToken(): Promise<string> {
    const now = performance.now();
    if (this.#token !== undefined && now < this.#token.until) return this.#token.text;
    const header = { "x-aws-ec2-metadata-token-ttl-seconds": String(tokenSeconds) };
    const response = await this.#fetch("PUT", "api/token", header);
    const text = await response.text();
    if (!response.ok) {
      const why = response.status === 403
        ? "is turned off for this instance"
        : `answered ${response.status}`;
      throw new ImdsError(
        `instance metadata ${why}; turn it on: aws ec2 modify-instance-metadata-options --http-endpoint enabled`,
      );
    }
    // A little early, so that it does not end on its way.
    this.#token = { text, until: now + (tokenSeconds - 300) * 1000 };
    return text;
  }

  async #fetch(
    method: string,
    path: string,
    headers: Record<string, string>,
  ): Promise<Response> {
    for (let attempt = 1;; attempt++) {
      try {
        const signal = AbortSignal.timeout(this.#timeoutMs);
        const response = await fetch(`${this.#endpoint}/latest/${path}`, {
          method,
          headers,
          signal,
          redirect: "manual",
        });
        if (response.status < 500 || attempt >= this.#attempts) return response;
        await response.body?.cancel();
      } catch (error) {
        if (attempt < this.#attempts) continue;
        const late = error instanceof DOMException && error.name === "TimeoutError";
        throw new ImdsError(
          late
            ? "instance metadata does not answer; in a pod without hostNetwork its hop limit must be 2 " +
              "(aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)"
            : `instance metadata cannot be reached at ${this.#endpoint}; is this an EC2 instance?`,
        );
      }
    }
  }
}
