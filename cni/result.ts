/**
 * What the plugin before pcnk printed (prevResult), as far as pcnk needs it, and the same again as pcnk's own result:
 * CNI SPEC 1.1, section 5, "Success".
 */
import { type CniVersion, isObject, type JsonObject } from "./config.ts";
import { type AttachmentId } from "./env.ts";
import { CniError, CODE } from "./errors.ts";

/** An IPv4 address of the container's interface. */
export interface PodAddress {
  /** Dotted, without the prefix length. */
  address: string;
  /** Dotted; undefined when the plugin named none. */
  gateway?: string;
}

/**
 * The IPv4 addresses that prevResult gives to the container's interface. IPv6 is not pcnk's business.
 * @throws {CniError} code 7 when prevResult is not what the spec says
 */
export function podAddresses(prevResult: JsonObject, { ifname }: AttachmentId): PodAddress[] {
  const interfaces = list(prevResult, "interfaces");
  const found: PodAddress[] = [];
  for (const [index, ip] of list(prevResult, "ips").entries()) {
    const where = `prevResult.ips[${index}]`;
    const address = string(ip["address"], `${where}.address`);
    if (address === undefined) throw wrong(`${where}.address`, "is missing");
    if (address.includes(":")) continue;
    const owner = ip["interface"];
    if (owner !== undefined && owner !== null) {
      const device = Number.isInteger(owner) ? interfaces[owner as number] : undefined;
      if (!device) throw wrong(`${where}.interface`, "is not an index into prevResult.interfaces");
      if (device["name"] !== ifname || !device["sandbox"]) continue;
    }
    const gateway = string(ip["gateway"], `${where}.gateway`);
    found.push({
      address: ipv4(address.replace(/\/\d{1,2}$/, ""), `${where}.address`),
      ...(gateway && !gateway.includes(":") ? { gateway: ipv4(gateway, `${where}.gateway`) } : {}),
    });
  }
  return found;
}

/**
 * prevResult as pcnk's result: unchanged, in the configuration's version. Before 1.0.0 each address said whether it is
 * of version 4 or 6; where prevResult is of the other format (a runtime that does not convert) that is put right.
 */
export function ownResult(prevResult: JsonObject, cniVersion: CniVersion): JsonObject {
  const result: JsonObject = { ...prevResult, cniVersion };
  if (!Array.isArray(prevResult["ips"])) return result;
  const versioned = cniVersion.startsWith("0.");
  result["ips"] = prevResult["ips"].map((ip: unknown) => {
    if (!isObject(ip)) return ip;
    if (versioned) {
      return "version" in ip
        ? ip
        : { version: String(ip["address"]).includes(":") ? "6" : "4", ...ip };
    }
    const { version: _version, ...rest } = ip;
    return rest;
  });
  return result;
}

function list(object: JsonObject, key: string): JsonObject[] {
  const value = object[key];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every(isObject)) {
    throw wrong(`prevResult.${key}`, "must be a list of objects");
  }
  return value;
}

function string(value: unknown, where: string): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string") throw wrong(where, "must be a string");
  return value;
}

function ipv4(value: string, where: string): string {
  const parts = value.split(".");
  const good = parts.length === 4 &&
    parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
  if (!good) throw wrong(where, "is not an IPv4 address");
  return value;
}

function wrong(where: string, rule: string): CniError {
  return new CniError(CODE.INVALID_CONFIG, `${where} ${rule}`);
}
