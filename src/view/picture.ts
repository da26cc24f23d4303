/**
 * The node's chain of services as a picture: where each shape is, and the same as an SVG that stands alone. No I/O and nothing
 * of this system's: the page in a browser draws the same shapes.
 */

/** A device with what of pcnk is on it. */
interface TopologyDevice {
  name: string;
  /** Programs, `lbrp_from_pod` and the like; empty: none, which is wrong where one belongs. */
  programs: string[];
}

/** Everything between the node's pods and the world. */
export interface Topology {
  pods: (TopologyDevice & { pod: string; address: string })[];
  /** Where the node's stack reaches the pods. */
  bridges: TopologyDevice[];
  /** Ways to other nodes, and what is at their ends. */
  tunnels: (TopologyDevice & { nodes: string[] })[];
  uplinks: (TopologyDevice & { address: string; nodes: string[] })[];
  /** Socket hooks of the node's own processes. */
  hostHooks: number;
}

/** `bad`: a program is missing. */
type Tone = "good" | "bad" | "plain";

/** Pixels; `y` is the middle. Shapes of a device know its name, so that somebody can write beside them. */
export type Shape =
  | { kind: "box"; x: number; y: number; width: number; text: string; tone: Tone; device?: string }
  | { kind: "note"; x: number; y: number; text: string; device: string }
  | { kind: "wire"; path: string };

interface Picture {
  width: number;
  height: number;
  shapes: Shape[];
}

const ROW = 38;
const TOP = 30;

/** Names of an element's ends, so many at most. */
function some(names: readonly string[], limit: number): string[] {
  return names.length <= limit
    ? [...names]
    : [...names.slice(0, limit), `… ${names.length - limit} more`];
}

/** The elements of the drawing, from the pods to the world. */
export function elements({ pods, bridges, tunnels, uplinks, hostHooks }: Topology, limit: number) {
  const boxed = (programs: readonly string[]) => {
    const services = [
      ...new Set(programs.map((name) => name.startsWith("lbrp") ? "lbrp" : "k8sdispatcher")),
    ];
    return services.length === 0 ? "[nothing]" : `[${services.join(" ")}]`;
  };
  const left = pods.slice(0, limit).map(({ pod, address, name, programs }) => ({
    label: `${pod || "pod"} ${address}`,
    device: name,
    box: boxed(programs),
  }));
  if (pods.length > limit) {
    left.push({ label: `… ${pods.length - limit} more pods`, device: "", box: "" });
  }
  left.push({
    label: "the node's own processes",
    device: "connect()",
    box: hostHooks > 0 ? "[hostlb]" : "[nothing]",
  });
  const middle = bridges.map(({ name, programs }) => ({
    label: `${name} ${boxed(programs)}`,
    device: name,
  }));
  const right = [
    ...tunnels.map(({ name, programs, nodes }) => ({
      label: `${name} ${boxed(programs)}`,
      device: name,
      ends: some(nodes, limit),
    })),
    ...uplinks.map(({ name, programs, address, nodes }) => ({
      label: `${name} ${address} ${boxed(programs)}`,
      device: name,
      ends: [...some(nodes, limit), "the world"],
    })),
  ];
  return { left, middle, right };
}

function toneOf(text: string): Tone {
  if (text.includes("[nothing]")) return "bad";
  return text.includes("[") ? "good" : "plain";
}

/** Of 13 px text, the widest that is usual. */
const CHARACTER = 8.1;
/** Longer names lose their middle: the ends tell Pods of one Deployment apart. */
const LONGEST = 56;

function shortened(text: string, longest: number): string {
  const characters = [...text];
  if (characters.length <= longest) return text;
  const half = (longest - 1) / 2;
  return [...characters.slice(0, Math.ceil(half)), "…", ...characters.slice(-Math.floor(half))]
    .join("");
}

/** The width that a box for this text has to have. */
function boxWidthOf(text: string): number {
  return Math.ceil([...shortened(text, LONGEST)].length * CHARACTER) + 20;
}

function box(x: number, y: number, width: number, full: string, device?: string): Shape {
  const text = shortened(full, Math.floor((width - 20) / CHARACTER));
  const shape = { kind: "box" as const, x, y, width, text, tone: toneOf(full) };
  return device ? { ...shape, device } : shape;
}

/** What is behind a device stands so far to the right of it. */
const END_INDENT = 50;

/** Pods on the left, the world on the right; boxes are as wide as the longest name in their column, devices' by `room` more. */
export function drawTopology(topology: Topology, limit = 24, room = 0): Picture {
  const { left, middle, right } = elements(topology, limit);
  const devices = [...middle.map((one) => ({ ...one, ends: [] as string[] })), ...right];
  const podWidth = Math.max(250, ...left.map(({ label }) => boxWidthOf(label)));
  const wire = 10 + podWidth, service = wire + 140, bus = service + 150, start = bus + 40;
  const width = Math.max(
    350,
    ...devices.map(({ label }) => boxWidthOf(label) + room),
    ...devices.flatMap(({ ends }) => ends.map((end) => boxWidthOf(end) + END_INDENT)),
  );
  const shapes: Shape[] = [];
  left.forEach(({ label, device, box: programs }, i) => {
    const y = TOP + i * ROW;
    if (programs !== "") shapes.push({ kind: "wire", path: `M${wire} ${y}H${bus}` });
    shapes.push(box(10, y, podWidth, label));
    if (programs === "") return;
    shapes.push({ kind: "note", x: wire + 10, y, text: device, device });
    shapes.push(box(service, y, 130, programs));
  });
  let y = TOP - ROW, last = TOP;
  for (const { label, device, ends } of devices) {
    y += ROW;
    last = y;
    shapes.push({ kind: "wire", path: `M${bus} ${y}H${start}` });
    shapes.push(box(start, y, width, label, device));
    for (const end of ends) {
      y += ROW;
      const path = `M${start + 25} ${last + 13}V${y}H${start + END_INDENT}`;
      shapes.push({ kind: "wire", path }, box(start + END_INDENT, y, width - END_INDENT, end));
    }
  }
  const bottom = TOP + (left.length - 1) * ROW;
  shapes.unshift({ kind: "wire", path: `M${bus} ${TOP}V${Math.max(bottom, last)}` });
  return { width: start + width + 10, height: Math.max(bottom, y) + TOP, shapes };
}

/** The same, one below the other, for a narrow place. */
export function drawNarrow(topology: Topology, limit = 24): Picture {
  const { left, middle, right } = elements(topology, limit);
  const shapes: Shape[] = [];
  let y = TOP - ROW, last = TOP;
  for (const { label, device, box: service } of left) {
    y += ROW;
    if (service !== "") shapes.push({ kind: "wire", path: `M10 ${y}H24` });
    if (service !== "") last = y;
    shapes.push(box(24, y, 326, label));
    if (service === "") continue;
    y += ROW - 6;
    shapes.push({ kind: "wire", path: `M44 ${y - ROW + 19}V${y}H184` });
    shapes.push({ kind: "note", x: 54, y, text: device, device }, box(184, y, 166, service));
  }
  for (
    const { label, device, ends } of [...middle.map((one) => ({ ...one, ends: [] })), ...right]
  ) {
    y += ROW;
    last = y;
    shapes.push({ kind: "wire", path: `M10 ${y}H24` }, box(24, y, 326, label));
    y += ROW - 20; // room for what somebody writes of the device
    shapes.push({ kind: "note", x: 64, y: y - 7, text: "", device });
    for (const end of ends as string[]) {
      y += ROW;
      shapes.push({ kind: "wire", path: `M44 ${last + 13}V${y}H64` }, box(64, y, 286, end));
    }
  }
  shapes.unshift({ kind: "wire", path: `M10 ${TOP}V${last}` });
  return { width: 360, height: y + TOP, shapes };
}

const escape = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const FILL: Readonly<Record<Tone, string>> = { good: "#d9f2e3", bad: "#fbd5d5", plain: "#eef1f6" };

function shapeSvg(shape: Shape): string {
  if (shape.kind === "wire") return `<path d="${shape.path}"/>`;
  const { x, y, text } = shape;
  if (shape.kind === "note") {
    return `<text x="${x}" y="${y - 5}" class="small">${escape(text)}</text>`;
  }
  return `<rect x="${x}" y="${y - 13}" width="${shape.width}" height="26" rx="5" fill="${
    FILL[shape.tone]
  }"/><text x="${x + 10}" y="${y + 5}">${escape(text)}</text>`;
}

/** A picture that stands alone. */
export function topologySvg(topology: Topology, limit = 24): string {
  const { width, height, shapes } = drawTopology(topology, limit);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>The node's chain of services</title>
<style>text{font:13px system-ui,sans-serif;fill:#1c2733}.small{font-size:11px;fill:#5a6b7b}path{stroke:#8a9bab;stroke-width:1.5;fill:none}</style>
<rect width="${width}" height="${height}" fill="#fff"/>
${shapes.map(shapeSvg).join("\n")}
</svg>
`;
}
