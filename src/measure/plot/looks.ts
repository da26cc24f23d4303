/** How each contender is drawn: the same colour, dash and mark in every picture of a report (pure). */
import {
  symbolCircle,
  symbolCross,
  symbolDiamond,
  symbolSquare,
  symbolStar,
  symbolTriangle,
  type SymbolType,
} from "d3-shape";
import { OWN } from "../summary.ts";

/** A contender's look. */
export interface Look {
  color: string;
  /** stroke-dasharray; undefined: a solid line. */
  dash: string | undefined;
  mark: SymbolType;
}

/** Okabe and Ito's palette, told apart by colour-blind people, without its yellow, which is too pale on white. */
const KNOWN: Readonly<Record<string, string>> = {
  [OWN]: "#0072B2",
  "kube-proxy iptables": "#D55E00",
  "kube-proxy nft": "#009E73",
  nft: "#009E73",
  plain: "#6B7280",
  bridge: "#6B7280",
};
const OTHERS = ["#CC79A7", "#8A6D00", "#56B4E9", "#4B2E83", "#7F3B08", "#1B9E9E"];
const DASHES = [undefined, "7 3", "2 3", "8 3 2 3", "12 4", "4 2 1 2"];
const MARKS = [
  symbolCircle,
  symbolSquare,
  symbolTriangle,
  symbolDiamond,
  symbolCross,
  symbolStar,
];

/** Looks of all contenders of a report, pcnk's first. With more contenders than colours, dashes and marks tell them apart. */
export function looks(contenders: Iterable<string>): Map<string, Look> {
  const names = [...new Set(contenders)];
  const ordered = [...names.filter((name) => name === OWN), ...names.filter((n) => n !== OWN)];
  const taken = new Set<string>();
  let next = 0;
  return new Map(ordered.map((name, i) => {
    const known = Object.hasOwn(KNOWN, name) ? KNOWN[name]! : undefined;
    const color = known !== undefined && !taken.has(known)
      ? known
      : OTHERS[next++ % OTHERS.length]!;
    taken.add(color);
    const round = Math.floor(i / MARKS.length);
    return [name, {
      color,
      dash: DASHES[(i + round) % DASHES.length],
      mark: MARKS[i % MARKS.length]!,
    }];
  }));
}
