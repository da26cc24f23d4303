/** Who the client is, read anew for each request: tokens and certificates are rotated under a running agent. */
import { toBase64 } from "../base64.ts";
import { type Access, AccessError, type Identity, readPem, readText } from "./access.ts";
import { type ExecCredential, runExecPlugin } from "./exec_plugin.ts";

/** What one request is made with. */
export interface Credentials {
  /** Value of the header; undefined: none. */
  authorization?: string;
  /** PEM texts of the TLS connection. */
  ca?: string;
  cert?: string;
  key?: string;
}

/** Milliseconds before its end at which a credential of a plugin is asked for anew. */
const earlyMs = 60_000;

export class CredentialSource {
  readonly #access: Access;
  #cached: ExecCredential | undefined;

  constructor(access: Access) {
    this.#access = access;
  }

  /**
   * @throws {AccessError} when a file cannot be read or a plugin fails
   */
  async current(signal: AbortSignal): Promise<Credentials> {
    const { ca, identity } = this.#access;
    const plugin = await this.#plugin(identity, signal);
    const authorization = authorizationOf(identity, plugin?.token);
    const cert = plugin?.cert ?? (identity.cert && readPem(identity.cert));
    const key = plugin?.key ?? (identity.key && readPem(identity.key));
    return { authorization, ca: ca && readPem(ca), cert, key };
  }

  /** The server did not know this client (401): what a plugin said is not asked from memory again. */
  refused() {
    this.#cached = undefined;
  }

  async #plugin(identity: Identity, signal: AbortSignal) {
    if (identity.exec === undefined) return undefined;
    const expires = this.#cached?.expires ?? Infinity;
    if (this.#cached === undefined || expires - earlyMs < Date.now()) {
      this.#cached = await runExecPlugin(identity.exec, this.#access, signal);
    }
    return this.#cached;
  }
}

/** In client-go's order: the token's file, the token, a plugin's, then name and password. */
function authorizationOf(identity: Identity, pluginToken: string | undefined): string | undefined {
  const { tokenFile, token, username, password } = identity;
  const bearer = tokenFile === undefined ? token ?? pluginToken : tokenOf(tokenFile);
  if (bearer !== undefined) return `Bearer ${bearer}`;
  if (username === undefined) return undefined;
  return `Basic ${toBase64(`${username}:${password ?? ""}`)}`;
}

function tokenOf(file: string): string {
  const token = readText(file).trim();
  if (token === "" || /[^\x21-\x7e]/.test(token)) {
    throw new AccessError(`${file}: holds no token`);
  }
  return token;
}
