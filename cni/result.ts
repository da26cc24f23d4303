/**
 * What the plugin before pcnk printed (prevResult), as far as pcnk needs it, and the same again as pcnk's own result:
 * CNI SPEC 1.1, section 5, "Success". There are two shapes: before 1.0.0 every address had a `version`, now none has.
 */
import { type CniVersion, type Config, readVersion } from "./config.ts";
import type { AttachmentId, PodAddress } from "../src/node/attachments.ts";
import { isObject, type JsonObject } from "../src/node/files.ts";
import { CniError, CODE } from "./errors.ts";
import { isAddress } from "../src/net/address.ts";
import { AddressError } from "../src/net/error.ts";
import { isIpv4 } from "../src/net/ipv4.ts";
import { parseInterface } from "../src/net/prefix.ts";
import { objects, optionalText, wrong } from "./json.ts";

/** @throws {CniError} code 7 when there is none: pcnk is a chained plugin */
export function needPrevResult({ prevResult }: Config): JsonObject {
  if (prevResult) return prevResult;
  throw new CniError(
    CODE.INVALID_CONFIG,
    "prevResult is missing",
    "pcnk is a chained plugin: put it behind one that makes the interface, such as bridge",
  );
}

/**
 * The IPv4 addresses that prevResult gives to the container's interface; one that names no interface is the container's.
 * IPv6 addresses are left out.
 * @throws {CniError} code 7 when prevResult breaks the spec, or does not have the interface
 */
export function podAddresses(prevResult: JsonObject, { ifname }: AttachmentId): PodAddress[] {
  const interfaces = objects(prevResult["interfaces"], "prevResult.interfaces").map(readInterface);
  if (interfaces.length > 0 && !interfaces.some((one) => one.sandbox && one.name === ifname)) {
    throw new CniError(
      CODE.INVALID_CONFIG,
      `prevResult.interfaces has no ${ifname} in a sandbox`,
      "pcnk adds to the interface that a plugin before it made in the pod",
    );
  }
  const found: PodAddress[] = [];
  objects(prevResult["ips"], "prevResult.ips").forEach((ip, index) => {
    const where = `prevResult.ips[${index}]`;
    const address = interfaceAddress(ip["address"], `${where}.address`);
    const gateway = optionalText(ip["gateway"], `${where}.gateway`) || "0.0.0.0";
    if (!isAddress(gateway)) throw wrong(`${where}.gateway`, gateway, "is not an IP address");
    const owner = ip["interface"];
    if (owner !== undefined && owner !== null) {
      const device = Number.isInteger(owner) ? interfaces[owner as number] : undefined;
      if (!device) {
        throw wrong(`${where}.interface`, owner, "is not an index into prevResult.interfaces");
      }
      if (device.name !== ifname || !device.sandbox) return;
    }
    if (!isIpv4(address) || found.some((one) => one.address === address)) return;
    found.push({ address, gateway: isIpv4(gateway) ? gateway : "0.0.0.0" });
  });
  return found;
}

/** Names of the devices on the node's side, as prevResult lists them. */
export function nodeInterfaces(prevResult: JsonObject): string[] {
  return objects(prevResult["interfaces"], "prevResult.interfaces").map(readInterface)
    .filter(({ sandbox }) => !sandbox).map(({ name }) => name);
}

/**
 * prevResult as pcnk's result: unchanged, in the configuration's version. Where prevResult is of the other shape (a
 * runtime that does not convert) that is put right.
 * @throws {CniError} code 1 or 6 for prevResult's own version
 */
export function ownResult(prevResult: JsonObject, cniVersion: CniVersion): JsonObject {
  const from = prevResult["cniVersion"] ? readVersion(prevResult) : cniVersion;
  const result: JsonObject = { cniVersion, ...prevResult };
  result["cniVersion"] = cniVersion;
  const versioned = cniVersion.startsWith("0.");
  if (versioned === from.startsWith("0.") || !Array.isArray(prevResult["ips"])) return result;
  result["ips"] = prevResult["ips"].map((ip: unknown) => {
    if (!isObject(ip)) return ip;
    const { version: _version, ...rest } = ip;
    if (!versioned) return rest;
    return { version: String(ip["address"]).includes(":") ? "6" : "4", ...rest };
  });
  return result;
}

function readInterface(value: JsonObject, index: number) {
  const where = `prevResult.interfaces[${index}]`;
  const name = optionalText(value["name"], `${where}.name`);
  if (!name) throw wrong(`${where}.name`, name, "must be set");
  return { name, sandbox: optionalText(value["sandbox"], `${where}.sandbox`) ?? "" };
}

/** The address of an "address/length". */
function interfaceAddress(value: unknown, where: string): string {
  try {
    return parseInterface(optionalText(value, where) ?? "").address;
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    const rule = `must be an address with its prefix length, like "10.1.2.3/24": ${error.reason}`;
    throw wrong(where, value, rule);
  }
}
