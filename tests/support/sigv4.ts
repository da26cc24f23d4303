/** Checks a request's signature as AWS does (Signature Version 4). */
import { createHash, createHmac } from "node:crypto";

const hex = (text: string) => createHash("sha256").update(text).digest("hex");
const hmac = (key: string | Uint8Array, text: string) =>
  createHmac("sha256", key).update(text).digest();

/** What is wrong with the signature; undefined: nothing. */
export function signatureProblem(
  request: Request,
  body: string,
  secretOf: (accessKey: string) => string | undefined,
  scope: { region: string; service: string },
): string | undefined {
  const header = request.headers.get("authorization") ?? "";
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/
      .exec(header);
  if (match === null) return `no AWS4-HMAC-SHA256 header: ${header}`;
  const [, accessKey = "", day = "", region = "", service = "", signed = "", signature = ""] =
    match;
  if (region !== scope.region || service !== scope.service) return `scope ${region}/${service}`;
  if (!signed.split(";").includes("host")) return "host is not signed";
  const secret = secretOf(accessKey);
  if (secret === undefined) return `unknown access key ${accessKey}`;
  const date = request.headers.get("x-amz-date") ?? "";
  if (!date.startsWith(day)) return "the dates differ";
  const url = new URL(request.url);
  const headers = signed.split(";").map((name) =>
    `${name}:${name === "host" ? url.host : request.headers.get(name)}\n`
  );
  const canonical = [
    request.method,
    url.pathname,
    url.search.slice(1),
    headers.join(""),
    signed,
    hex(body),
  ].join("\n");
  const place = `${day}/${region}/${service}/aws4_request`;
  const toSign = `AWS4-HMAC-SHA256\n${date}\n${place}\n${hex(canonical)}`;
  const key = [region, service, "aws4_request"].reduce(
    (last, part) => hmac(last, part),
    hmac(`AWS4${secret}`, day),
  );
  return hmac(key, toSign).toString("hex") === signature
    ? undefined
    : "the signature does not match";
}
