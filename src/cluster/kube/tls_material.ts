/**
 * Certificates and keys as files hold them, checked before a client is made of them: Deno.createHttpClient ends the
 * process when a certificate cannot be read or a key belongs to another one (2.6.8), which files show while they are replaced.
 */
import { X509Certificate } from "node:crypto";
import { type Access, AccessError, type Pem } from "./access.ts";
import type { Credentials } from "./credentials.ts";

export type Tls = Pick<Credentials, "ca" | "cert" | "key">;

/**
 * What of `tls` a client can be made of: without certificates of a CA bundle that cannot be read, as crypto/x509 does.
 * @throws {AccessError} naming the file and what is wrong in it
 */
export function checkedTls({ ca, cert, key }: Tls, access: Access): Tls {
  const pair = cert === undefined || key === undefined ? {} : { cert, key };
  if (cert !== undefined && key !== undefined) checkPair(cert, key, access);
  return { ca: ca === undefined ? undefined : usableCa(ca, access), ...pair };
}

/** The client certificate's end, when that has passed: for messages about a refusal. */
export function expiredAt({ cert }: Tls): string | undefined {
  try {
    const { validToDate } = new X509Certificate(cert ?? "");
    return validToDate.getTime() < Date.now() ? validToDate.toISOString() : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A listener makes the same check (rustls' CertifiedKey) and throws; it is bound to loopback, and closed before
 * anything could be accepted.
 */
function checkPair(cert: string, key: string, access: Access) {
  const certName = nameOf(access.identity.cert, access, "client-certificate-data");
  const keyName = nameOf(access.identity.key, access, "client-key-data");
  if (/^(-----BEGIN ENCRYPTED|Proc-Type:.*ENCRYPTED)/m.test(key)) {
    throw new AccessError(
      `${keyName}: the key is encrypted; write it without a passphrase (openssl pkey -in FILE -out FILE)`,
    );
  }
  try {
    Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key }).close();
  } catch (error) {
    const { message } = error as Error;
    if (/KeyMismatch/.test(message)) {
      throw new AccessError(
        `${keyName}: the key does not belong to the certificate in ${certName}`,
      );
    }
    if (/private key|No keys/i.test(message)) {
      throw new AccessError(`${keyName}: holds no private key that can be used: ${message}`);
    }
    if (/certificate/i.test(message)) {
      throw new AccessError(`${certName}: holds no certificate that can be read: ${message}`);
    }
    throw new AccessError(`${certName}: the certificate cannot be checked: ${message}`);
  }
}

function usableCa(ca: string, access: Access): string {
  if (takes(ca)) return ca;
  const blocks = ca.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  const usable = blocks.filter(takes);
  if (usable.length > 0) return usable.join("\n");
  const name = nameOf(access.ca, access, "certificate-authority-data");
  throw new AccessError(`${name}: holds no certificate that can be read`);
}

function takes(ca: string): boolean {
  try {
    Deno.createHttpClient({ caCerts: [ca] }).close();
    return /-----BEGIN CERTIFICATE-----/.test(ca);
  } catch {
    return false;
  }
}

function nameOf(pem: Pem | undefined, { from, identity }: Access, key: string): string {
  if (pem !== undefined && "file" in pem) return pem.file;
  const plugin = pem === undefined ? identity.exec?.command : undefined;
  return plugin === undefined ? `${from}: ${key}` : `credential plugin ${plugin}`;
}
