/**
 * The topology as SVG, for `pcnk topology --svg` and for the page. No I/O: a browser runs it, and makes elements of what it gets:
 * names are never parsed as markup.
 */
import { element, escapeXml } from "../model/svg.ts";
import { NOTHING, type Topology, type TopologyRow, topologyRows } from "./topology_rows.ts";

/** An SVG element, or the text in one. */
export type SvgNode = string | {
  tag: string;
  attributes: Record<string, string | number>;
  children: SvgNode[];
};

/** What to write beside a device. */
export interface Mark {
  text: string;
  /** CSS class. */
  class: string;
}

interface PictureOptions {
  /** Pods and nodes to show, at most. */
  limit?: number;
  /** 360 pixels wide: devices below the pods, not beside them. */
  narrow?: boolean;
  /** @param pod whether the device is a pod's */
  mark?: (device: string, pod: boolean) => Mark | undefined;
  /** CSS of classes good, bad, plain, note and mark; left out: the page has it. */
  style?: string;
}

const STYLE =
  "text{font:13px system-ui,sans-serif;fill:#1c2733}.note{font-size:11px;fill:#5a6b7b}" +
  "path{stroke:#8a9bab;stroke-width:1.5;fill:none}" +
  ".good{fill:#d9f2e3}.bad{fill:#fbd5d5}.plain{fill:#eef1f6}";

/** Pixels: height of a row, and middle of the first one. */
const ROW = 38;
const TOP = 30;
/** Of 13 px text, the widest that is usual. */
const CHARACTER = 8.1;
/** Longer names are cut in the middle: Pods of one Deployment differ in their ends. */
const LONGEST = 56;

/** A picture that stands alone. */
export function standaloneSvg(topology: Topology): string {
  return svgText(topologySvg(topology, { style: STYLE }));
}

export function topologySvg(topology: Topology, options: PictureOptions = {}): SvgNode {
  const { limit = 24, narrow = false, mark, style } = options;
  const { pods, devices } = topologyRows(topology, limit);
  const columns = narrow ? NARROW : wideColumns(pods, devices, mark === undefined ? 0 : 130);
  const drawing = new Drawing(columns, narrow, mark);
  for (const row of pods) drawing.pod(row);
  drawing.startDevices();
  for (const row of devices) drawing.device(row);
  const { width } = columns;
  const { height } = drawing;
  const background = style
    ? [svg("style", {}, style), svg("rect", { width, height, fill: "#fff" })]
    : [];
  return svg(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
    },
    svg("title", {}, "The topology of this node"),
    ...background,
    ...drawing.shapes,
  );
}

function svg(
  tag: string,
  attributes: Record<string, string | number>,
  ...children: SvgNode[]
): SvgNode {
  return { tag, attributes, children };
}

/** As XML, an element a line. */
export function svgText(node: SvgNode): string {
  if (typeof node === "string") return escapeXml(node);
  const inside = node.children.map(svgText).join("");
  const line = inside.startsWith("<") ? "\n" : "";
  return element(node.tag, node.attributes, line + inside) + "\n";
}

/** A column's left edge and width. */
type Column = readonly [x: number, width: number];

interface Columns {
  width: number;
  /** The line that connects all. */
  bus: number;
  label: Column;
  /** Where a pod's device is named. */
  note: number;
  service: Column;
  device: Column;
  /** What is behind a device. */
  end: Column;
}

const NARROW: Columns = {
  width: 360,
  bus: 10,
  label: [24, 326],
  note: 54,
  service: [184, 166],
  device: [24, 326],
  end: [64, 286],
};

/** As wide as the longest name in each column, devices by `room` more. */
function wideColumns(
  pods: readonly TopologyRow[],
  devices: readonly TopologyRow[],
  room: number,
): Columns {
  const indent = 50;
  const label = Math.max(250, ...pods.map((row) => boxWidthOf(row.label)));
  const bus = label + 300, start = bus + 40;
  const widths = devices.flatMap((row) => [
    boxWidthOf(deviceText(row)) + room,
    ...row.ends.map((end) => boxWidthOf(end) + indent),
  ]);
  const width = Math.max(350, ...widths);
  return {
    width: start + width + 10,
    bus,
    label: [10, label],
    note: label + 20,
    service: [label + 150, 130],
    device: [start, width],
    end: [start + indent, width - indent],
  };
}

/** Rows from top to bottom; `y` is the middle of the last one. */
class Drawing {
  readonly #columns: Columns;
  readonly #narrow: boolean;
  readonly #mark: (device: string, pod: boolean) => Mark | undefined;
  readonly #shapes: SvgNode[] = [];
  #y = TOP - ROW;
  /** The lowest row. */
  #bottom = TOP;
  /** Where the bus ends. */
  #busEnd = TOP;

  constructor(columns: Columns, narrow: boolean, mark: PictureOptions["mark"]) {
    this.#columns = columns;
    this.#narrow = narrow;
    this.#mark = mark ?? (() => undefined);
  }

  get height(): number {
    return this.#bottom + TOP;
  }

  pod({ label, device, service }: TopologyRow) {
    const { bus, label: [left, width], note, service: column } = this.#columns;
    let y = this.#next(ROW);
    if (service === "") return this.#box(this.#columns.label, label);
    this.#busEnd = y;
    this.#wire(this.#narrow ? `M${bus} ${y}H${left}` : `M${left + width} ${y}H${bus}`);
    this.#box(this.#columns.label, label);
    if (this.#narrow) {
      const from = y + 13;
      y = this.#next(ROW - 6);
      this.#wire(`M${left + 20} ${from}V${y}H${column[0]}`);
    }
    this.#text(note, y - 5, device, "note");
    const mark = this.#mark(device, true);
    if (mark) this.#text(note, y + 14, mark.text, mark.class);
    this.#box(column, service, service);
  }

  /** From here on devices, beside the pods or below them. */
  startDevices() {
    if (!this.#narrow) this.#y = TOP - ROW;
  }

  device(row: TopologyRow) {
    const { bus, device: [x, width], end: [endX] } = this.#columns;
    const top = this.#next(ROW);
    this.#busEnd = Math.max(this.#busEnd, top);
    this.#wire(`M${bus} ${top}H${x}`);
    this.#box(this.#columns.device, deviceText(row), row.service);
    const mark = this.#mark(row.device, false);
    if (this.#narrow) {
      const y = this.#next(ROW - 20);
      if (mark) this.#text(endX, y + 7, mark.text, mark.class);
    } else if (mark) this.#text(x + width - 8, top + 5, mark.text, mark.class, "end");
    for (const end of row.ends) {
      this.#wire(`M${x + 20} ${top + 13}V${this.#next(ROW)}H${endX}`);
      this.#box(this.#columns.end, end);
    }
  }

  get shapes(): SvgNode[] {
    return [svg("path", { d: `M${this.#columns.bus} ${TOP}V${this.#busEnd}` }), ...this.#shapes];
  }

  #next(pixels: number): number {
    this.#y += pixels;
    this.#bottom = Math.max(this.#bottom, this.#y);
    return this.#y;
  }

  #wire(path: string) {
    this.#shapes.push(svg("path", { d: path }));
  }

  #text(x: number, y: number, text: string, style = "", anchor = "") {
    const attributes: Record<string, string | number> = { x, y };
    if (style) attributes.class = style;
    if (anchor) attributes["text-anchor"] = anchor;
    this.#shapes.push(svg("text", attributes, text));
  }

  /** @param service red when it is missing, green when it is there */
  #box([x, width]: Column, text: string, service = "") {
    const tone = service === "" ? "plain" : service === NOTHING ? "bad" : "good";
    this.#shapes.push(
      svg("rect", { x, y: this.#y - 13, width, height: 26, rx: 5, class: tone }),
    );
    this.#text(x + 10, this.#y + 5, shortened(text, Math.floor((width - 20) / CHARACTER)));
  }
}

function deviceText({ device, label, service }: TopologyRow): string {
  return [device, service, label].filter((part) => part !== "").join(" ");
}

function shortened(text: string, longest: number): string {
  const characters = [...text];
  if (characters.length <= longest) return text;
  const half = (longest - 1) / 2;
  return [...characters.slice(0, Math.ceil(half)), "…", ...characters.slice(-Math.floor(half))]
    .join("");
}

/** The width of a box for this text. */
function boxWidthOf(text: string): number {
  return Math.ceil([...shortened(text, LONGEST)].length * CHARACTER) + 20;
}
