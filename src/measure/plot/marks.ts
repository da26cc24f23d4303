/** A point's mark (pure). */
import { symbol, type SymbolType } from "d3-shape";
import { INK } from "./frame.ts";
import { element } from "../../model/svg.ts";

/** `size`: square pixels. */
export function drawMark(mark: SymbolType, color: string, x: number, y: number, size = 44): string {
  return element("path", {
    d: symbol(mark, size)() ?? "",
    transform: `translate(${Math.round(x * 100) / 100},${Math.round(y * 100) / 100})`,
    fill: color,
    stroke: INK.paper,
    "stroke-width": 0.8,
  });
}
