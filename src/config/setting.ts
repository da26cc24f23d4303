/** One setting of the agent: what its flag, its key in the configuration file and its help are made from. */
import type { Kind } from "./kinds.ts";

export interface Setting<T = unknown> {
  /** In the configuration file: camelCase, nested keys joined by a dot. */
  key: string;
  kind: Kind<T>;
  /** A value, or what finds it at the start; undefined: unset unless given. */
  fallback?: T | (() => T);
  /** The default in `--help` where the value would not explain itself. */
  fallbackText?: string;
  /** One line. */
  help: string;
  /** A changed configuration file takes effect without a restart. */
  live?: true;
  /** Must be the same on all nodes. */
  clusterWide?: true;
  /** A key of Polycube's that has nothing to do here any more: why. It is accepted, checked, and warned of. */
  noEffect?: string;
}

export function setting<T>(
  key: string,
  kind: Kind<T>,
  fallback: T | (() => T) | undefined,
  help: string,
  fallbackText?: string,
): Setting<T> {
  return {
    key,
    kind,
    help,
    fallback,
    fallbackText,
  };
}

/** A changed configuration file changes it in a running agent. */
export const live = <T>(one: Setting<T>): Setting<T> => ({ ...one, live: true });

/** All nodes have to agree on it. */
export const everywhere = <T>(one: Setting<T>): Setting<T> => ({ ...one, clusterWide: true });

/** Kept so that a configuration of Polycube's is read; `why` says what became of it. */
export const retired = <T>(one: Setting<T>, why: string): Setting<T> => ({ ...one, noEffect: why });

/** `mapSizes.services` is the flag `--map-sizes-services`. */
export function flagName(key: string): string {
  const words = key.replaceAll(/[._]/g, "-").replace("CIDRs", "Cidrs").replace("LB", "Lb").replace(
    "IP",
    "Ip",
  );
  return "--" + words.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The value of a setting that is not given. */
export function fallbackOf({ fallback }: Setting): unknown {
  return typeof fallback === "function" ? fallback() : fallback;
}

/** A default as the help text shows it. */
export function fallbackText({ fallback, fallbackText, kind }: Setting): string {
  if (fallbackText !== undefined) return fallbackText;
  return fallback === undefined ? "none" : kind.format(fallback);
}
