/** How settings are written and checked: one Kind for each sort of value. */
import { AddressError } from "../net/error.ts";
import { joinHostPort, splitHostPort } from "../net/host_port.ts";
import { parsePrefix } from "../net/prefix.ts";

/** How a setting is written and checked. */
export interface Kind<T> {
  /** Stands for the value in help texts. */
  placeholder: string;
  /** The checked value. @throws Error whose message says what is expected: "must be …" */
  parse(value: unknown): T;
  /** For help texts. */
  format(value: T): string;
}

export const text = (placeholder: string, matches: RegExp, expected: string): Kind<string> => ({
  placeholder,
  parse(value) {
    if (typeof value !== "string" || !matches.test(value)) throw new Error(`must be ${expected}`);
    return value;
  },
  format: (value) => value,
});

export const path = text("DIR", /^\/[^\0]*$/, "an absolute path");
export const file = text("FILE", /^[^\0]+$/, "a path");
export const anyPath = text("DIR", /^[^\0]+$/, "a path");
// 15 characters, no slash, no blank: what the kernel takes (dev_valid_name()).
export const device = text("DEVICE", /^(?!\.\.?$)[^\s/:]{1,15}$/, "the name of a network device");
/** A list, or text with commas; each name once. */
export const devices: Kind<string[]> = {
  placeholder: "DEVICE,…",
  parse(value) {
    const given = typeof value === "string" ? value.split(",") : value;
    if (!Array.isArray(given) || given.length === 0) {
      throw new Error("must be names of network devices, e.g. eth0,eth1");
    }
    return [
      ...new Set(given.map((one) => device.parse(typeof one === "string" ? one.trim() : one))),
    ];
  },
  format: (value) => value.join(","),
};
export const name = text(
  "NAME",
  /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
  "a node name: lower case letters, digits, - and .",
);

/** The result of a parser of src/net; its reason behind what is expected. */
function parsed<T>(expected: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const reason = error instanceof AddressError ? ` (${error.reason})` : "";
    throw new Error(`must be ${expected}${reason}`);
  }
}

export const listenAddress: Kind<string> = {
  placeholder: "HOST:PORT",
  parse(value) {
    if (value === "off") return value;
    return parsed("an address and a port, e.g. 127.0.0.1:9879, or off", () => {
      const { address, port } = splitHostPort(String(value));
      return joinHostPort(address, port);
    });
  },
  format: (value) => value,
};

export function choice<const T extends string>(name: string, ...allowed: T[]): Kind<T> {
  return {
    placeholder: `${name}: ${allowed.join("|")}`,
    parse(value) {
      const found = allowed.find((word) => word === value);
      if (found === undefined) throw new Error(`must be one of ${allowed.join(", ")}`);
      return found;
    },
    format: (value) => value,
  };
}

export const seconds: Kind<number> = {
  placeholder: "TIME",
  parse(value) {
    const given = parseDuration(value);
    if (given === undefined || given < 1 || given > 365 * 86400) {
      throw new Error("must be a time from 1s to 365d, e.g. 90, 90s, 5m or 1h30m");
    }
    return given;
  },
  format: formatDuration,
};

export function entries(min: number, max: number, placeholder = "N"): Kind<number> {
  return {
    placeholder,
    parse(value) {
      const given = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
      if (typeof given !== "number" || !Number.isInteger(given) || given < min || given > max) {
        throw new Error(`must be a whole number from ${min} to ${max}`);
      }
      return given;
    },
    format: String,
  };
}

export const yesOrNo: Kind<boolean> = {
  placeholder: "true|false",
  parse(value) {
    if (value === true || value === "true") return true;
    if (value === false || value === "false") return false;
    throw new Error("must be true or false");
  },
  format: String,
};

export interface PortRange {
  first: number;
  last: number;
}

export const portRange: Kind<PortRange> = {
  placeholder: "FIRST-LAST",
  parse(value) {
    const text = typeof value === "string" ? value : portRange.format(value as PortRange);
    const [, first, last] = /^(\d+)-(\d+)$/.exec(text) ?? [];
    const range = { first: Number(first), last: Number(last) };
    if (!(range.first >= 1 && range.first <= range.last && range.last <= 65535)) {
      throw new Error("must be a range of ports, e.g. 1024-29999");
    }
    return range;
  },
  format: (range) => `${range?.first}-${range?.last}`,
};

export const prefixes: Kind<string[]> = {
  placeholder: "CIDR,…",
  parse(value) {
    const given = typeof value === "string" ? value.split(",").filter((one) => one !== "") : value;
    return parsed("IPv4 prefixes, e.g. 10.0.0.0/8,192.168.0.0/16", () => {
      if (!Array.isArray(given)) throw new TypeError();
      return given.map((one) => parsePrefix(String(one).trim(), 4).text);
    });
  },
  format: (value) => value.length === 0 ? "none" : value.join(","),
};

const levels = ["trace", "debug", "info", "warn", "error", "silent"] as const;

/** What `logLevel` may be, the most talkative first. */
export const logLevelWords: readonly string[] = levels;

// Without the levels, which would make the widest flag of all.
export const logLevels = { ...choice("LEVEL", ...levels), placeholder: "LEVEL" };

/** One IPv4 prefix. */
export const prefix: Kind<string> = {
  placeholder: "CIDR",
  parse: (value) =>
    parsed("an IPv4 prefix, e.g. 10.96.0.0/12", () => parsePrefix(String(value), 4).text),
  format: (value) => value,
};

/** Base URLs of servers, separated by commas; without a path. */
export const urls: Kind<string[]> = {
  placeholder: "URL,…",
  parse(value) {
    const given = typeof value === "string" ? value.split(",") : value;
    const found = Array.isArray(given) ? given.map((one) => String(one).trim()) : [];
    if (found.length === 0 || !found.every(isServer)) {
      throw new Error(
        "must be URLs of servers, e.g. https://192.0.2.1:2379,https://192.0.2.2:2379",
      );
    }
    return found.map((one) => one.replace(/\/+$/, ""));
  },
  format: (value) => value.join(","),
};

function isServer(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, pathname, search, hash, username } = new URL(text);
  return /^https?:$/.test(protocol) && pathname === "/" && search + hash + username === "";
}

/** Lengths of time are written as a number of seconds, or as "90s", "5m", "1h30m", "250ms". */
const units: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

/** Seconds, not rounded; undefined when `value` is no length of time. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) && value >= 0 ? value : undefined;
  if (typeof value !== "string") return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value);
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(value)) return undefined;
  let seconds = 0;
  for (const [, number, unit] of value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    seconds += Number(number) * units[unit!]!;
  }
  return seconds;
}

/** The shortest way to write whole seconds: 7200 is "2h", 90 is "90s". */
export function formatDuration(seconds: number): string {
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["m", 60]] as const) {
    if (seconds >= length && seconds % length === 0) return `${seconds / length}${unit}`;
  }
  return `${seconds}s`;
}
