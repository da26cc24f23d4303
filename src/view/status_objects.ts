/** The table of objects (src/upkeep/), as `pcnk status` reads it from the kernel. */

import { readAttachments } from "../node/attachments.ts";
import { readState } from "../node/state_files.ts";
import { type Fault, type NodeState, readOnce, type Row, unchecked } from "../upkeep/fault.ts";
import { TABLE } from "../upkeep/table.ts";
import type { Finding } from "./finding.ts";
import type { NodeReader } from "./node.ts";

/** A fault, and its row in the table. */
export interface Found extends Pick<Row, "part"> {
  row: string;
  fault: Fault;
}

export const asFinding = ({ part, fault: { text, next } }: Found): Finding => ({
  part,
  health: "bad",
  text,
  next,
});

/** Faults that are there twice, `settleMs` apart. @throws {SyscallError} */
export async function lastingFaults(node: NodeReader, settleMs: number): Promise<Found[]> {
  const first = findFaults(node);
  if (first.length === 0) return [];
  await new Promise((done) => setTimeout(done, settleMs));
  const again = findFaults(node);
  return again.filter(({ fault }) => first.some((one) => one.fault.object === fault.object));
}

function findFaults({ dataPlane, nl, place: { bpffs, stateDir } }: NodeReader): Found[] {
  const state: NodeState = {
    ...{ bpffs, stateDir, nl, links: readOnce(nl), dataPlane, attach: "auto" },
    records: readAttachments(stateDir),
    objects: readState(stateDir, "objects") ??
      { bridge: "pcnk0", bridgeAddresses: [], overlayDevice: "pcnk_vxlan" },
  };
  const found: Found[] = [];
  for (const row of TABLE) {
    if (row.name === "uplinks") continue; // each has a line of its own
    const { name, part } = row;
    found.push(...faultsOf(row, state).map((fault) => ({ row: name, part, fault })));
    if (name === "pins" && found.length > 0) return found; // the others read maps
  }
  return found;
}

function faultsOf(row: Row, state: NodeState): Fault[] {
  try {
    return row.check(state);
  } catch (error) {
    return [unchecked(row, error as Error)];
  }
}
