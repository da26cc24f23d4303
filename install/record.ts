/**
 * The record of an installation: what it has put onto the machine, and what was there before. `pcnk uninstall` reads it and
 * removes it last. It lies beside the reference plugins' state and survives a reboot.
 */
import { INSTALL_RECORD } from "../src/node/conflist.ts";
import { parseObject } from "../src/node/files.ts";
import { NewerRecordError, withoutSchema, withSchema } from "../src/node/schema.ts";
import type { Machine } from "./machine.ts";

/** Its path. */
export const RECORD = INSTALL_RECORD;

export interface InstallRecord {
  /** SHA-256 of each file as it was written. */
  files: Record<string, string>;
  /** Symbolic links and where they lead. */
  links: Record<string, string>;
  /** Directories that were made, outer ones first. */
  directories: string[];
  /** Kernel parameters (with slashes) that were changed, and their value before. */
  sysctls: Record<string, { before: string; after: string }>;
  /** The agent must be restarted: an installation that was killed had changed something, or was about to. */
  restart?: boolean;
}

export const emptyRecord = (): InstallRecord => ({
  files: {},
  links: {},
  directories: [],
  sysctls: {},
});

/**
 * The record of the machine; an empty one when there is none or it is damaged.
 * @throws {NewerRecordError}
 */
export function readRecord(machine: Pick<Machine, "text">): InstallRecord {
  const record = emptyRecord();
  try {
    const found = parseObject(machine.text(RECORD) ?? "{}") ?? {};
    const value = withoutSchema("install", found, RECORD) as Partial<InstallRecord>;
    const texts = (of: unknown): [string, string][] =>
      Object.entries(of ?? {}).filter((one): one is [string, string] => typeof one[1] === "string");
    record.files = Object.fromEntries(texts(value.files));
    record.links = Object.fromEntries(texts(value.links));
    record.directories = (Array.isArray(value.directories) ? value.directories : [])
      .filter((one) => typeof one === "string");
    for (const [name, change] of Object.entries(value.sysctls ?? {})) {
      const { before, after } = change ?? {};
      if (typeof before === "string" && typeof after === "string") {
        record.sysctls[name] = { before, after };
      }
    }
    if (value.restart === true) record.restart = true;
  } catch (error) {
    if (error instanceof NewerRecordError) throw error;
    // Damaged: what it listed stays.
  }
  return record;
}

/** Its text on disk. */
export function renderRecord(record: InstallRecord): string {
  return JSON.stringify(withSchema("install", record), null, 2) + "\n";
}
