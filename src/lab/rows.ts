/** The rows of the connectivity matrix: what is asked, and by which protocol (pure). */
import type { ProbeKind } from "./probe.ts";

/** A row: the same question asked by several sources. */
export interface Row {
  title: string;
  kind: ProbeKind;
}

const both: ProbeKind[] = ["tcp", "udp"];
const ping: ProbeKind[] = ["ping"];
const all: ProbeKind[] = ["tcp", "udp", "ping"];

const TITLES = {
  hostToPod: "host → pod, same node",
  hostToPodElsewhere: "host → pod, other node",
  hostToService: "host → ClusterIP",
  hostToNodePort: "host → NodePort",
  podToHost: "pod → host",
  podToGateway: "pod → gateway",
  podToPod: "pod → pod, same node",
  podToPodElsewhere: "pod → pod, other node",
  podToService: "pod → ClusterIP",
  podToServiceElsewhere: "pod → ClusterIP, other node",
  podToItself: "pod → itself through its service",
  podToNothing: "pod → service with no backends",
  podToNodePort: "pod → NodePort",
  podToOutside: "pod → outside",
  outsideToNodePort: "outside → NodePort",
  outsideToLocalNodePort: "outside → NodePort, policy Local",
};

/** The rows of a question, one for each protocol. */
function rows(question: keyof typeof TITLES, kinds: ProbeKind[]): Row[] {
  return kinds.map((kind) => ({ title: TITLES[question], kind }));
}

/** The rows by question, in the order of the table. */
export const ROWS = {
  hostToPod: rows("hostToPod", ["tcp", "ping"]),
  hostToPodElsewhere: rows("hostToPodElsewhere", ["tcp", "ping"]),
  hostToService: rows("hostToService", both),
  hostToNodePort: rows("hostToNodePort", both),
  podToHost: rows("podToHost", ping),
  podToGateway: rows("podToGateway", ping),
  podToPod: rows("podToPod", all),
  podToPodElsewhere: rows("podToPodElsewhere", all),
  podToService: rows("podToService", all),
  podToServiceElsewhere: rows("podToServiceElsewhere", both),
  podToItself: rows("podToItself", both),
  podToNothing: rows("podToNothing", both),
  podToNodePort: rows("podToNodePort", both),
  podToOutside: rows("podToOutside", all),
  outsideToNodePort: rows("outsideToNodePort", both),
  outsideToLocalNodePort: rows("outsideToLocalNodePort", both),
};

/** All rows, in the order of the table. */
export const ALL_ROWS: Row[] = Object.values(ROWS).flat();
