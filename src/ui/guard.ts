/**
 * Who may look. The page shows names and flows that only root can read otherwise, over a socket that every process of the node can
 * reach, so:
 *
 *   the client     is on loopback, unless the operator said otherwise
 *   Host           is a literal address or localhost: a name can be made to point here (DNS rebinding)
 *   Origin         nothing that a page of another origin sends is answered
 *   the key        a random word that only who started it, or root, knows; asked for once, then in a cookie
 *   the method     GET or HEAD; nothing here changes anything
 */
import { timingSafeEqual } from "node:crypto";
import { hostAddress } from "../net/host_port.ts";
import { isLoopback } from "../net/scope.ts";

/** Headers of every answer. The page loads its own files alone and refuses to be framed. */
export const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "cache-control": "no-store",
};

interface GuardOptions {
  /** The word that opens the page. */
  key: string;
  /** Clients from elsewhere are answered too. */
  remote: boolean;
}

/** Why not, as status and one line; undefined: it may. */
export function refusal(
  request: Request,
  from: string,
  { key, remote }: GuardOptions,
): { status: number; text: string } | undefined {
  const url = new URL(request.url);
  if (!remote && !isLoopback(from)) return { status: 403, text: "only from this node" };
  const address = addressOf(url.hostname);
  if (address === undefined || (!remote && !isLoopback(address))) {
    return { status: 403, text: "ask for it by its address, e.g. http://127.0.0.1/" };
  }
  const origin = request.headers.get("origin");
  const site = request.headers.get("sec-fetch-site");
  if (
    (origin !== null && origin !== url.origin) ||
    // A link from elsewhere may open the page itself, but nothing else.
    (site !== null && !["same-origin", "none"].includes(site) && !url.searchParams.has("key"))
  ) {
    return { status: 403, text: "not for pages of another origin" };
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return { status: 405, text: "GET or HEAD: nothing here changes anything" };
  }
  if (!knows(request, url, key)) {
    return { status: 401, text: "open it by the address with ?key= that was printed at its start" };
  }
  return undefined;
}

/** Cookies are shared by all ports of a host: each server has one of its own name. */
export function cookieName({ port }: URL): string {
  return `pcnk_ui_${port || "80"}`;
}

function knows(request: Request, url: URL, key: string): boolean {
  const given = url.searchParams.get("key");
  if (given !== null) return same(given, key);
  const name = cookieName(url);
  const cookies = (request.headers.get("cookie") ?? "").split(/;\s*/);
  return cookies.some((one) => one.startsWith(`${name}=`) && same(one.slice(name.length + 1), key));
}

function same(one: string, other: string): boolean {
  const [a, b] = [one, other].map((text) => new TextEncoder().encode(text));
  return a!.length === b!.length && timingSafeEqual(a!, b!);
}

/** Names can be made to point anywhere (DNS rebinding), except localhost. */
function addressOf(hostname: string): string | undefined {
  return hostname === "localhost" ? "127.0.0.1" : hostAddress(hostname);
}
