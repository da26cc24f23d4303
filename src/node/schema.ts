/**
 * Versions of the records that pcnk keeps in files, as src/bpf/schema.ts has those of pinned maps. A record of version 1, which
 * release 0.1.0 wrote, does not say so; others have a member `schema`. Every release reads what the one before it wrote, and
 * refuses what a newer one wrote, unchanged.
 */
import type { JsonObject } from "./files.ts";

/** The version that this executable writes of each kind of record. */
const VERSIONS = {
  attachment: 2, // `schema` itself
  install: 1,
  agent: 1,
  datapath: 1,
  upgrade: 1,
  "node-settings": 1,
  sysctls: 1,
  vpc: 1,
  "reserved-ports": 1,
  objects: 1,
  uplinks: 1,
} as const;

type RecordKind = keyof typeof VERSIONS;

/** A record that a newer pcnk wrote. */
export class NewerRecordError extends Error {
  override readonly name = "NewerRecordError";

  constructor(readonly path: string, readonly found: number, readonly known: number) {
    super(
      `${path} is of schema ${found}, written by a newer pcnk; this one knows ${known}: run the newer pcnk again, ` +
        "or drain the node and remove the file",
    );
  }
}

/** A record as it is written. */
export function withSchema(kind: RecordKind, record: object): object {
  const version: number = VERSIONS[kind];
  return version === 1 ? record : { schema: version, ...record };
}

/**
 * A record as it was read, without its version.
 * @throws {NewerRecordError}
 */
export function withoutSchema(kind: RecordKind, value: JsonObject, path: string): JsonObject {
  if (!Number.isInteger(value["schema"])) return value;
  const { schema, ...record } = value;
  const known = VERSIONS[kind];
  if ((schema as number) > known) throw new NewerRecordError(path, schema as number, known);
  return record;
}
