/// <reference lib="dom" />
/** The node's chain of services as a picture, with what goes through it. */
import { drawNarrow, drawTopology, type Shape } from "../../view/picture.ts";
import type { DeviceRate, TopologyNow } from "../types.ts";
import { ask } from "./ask.ts";
import { el, rate, svg } from "./dom.ts";
import type { MakeView } from "./view.ts";

/** Pixels below which the parts stand one below the other. */
const NARROW = 700;

export const topologyView: MakeView = ({ root, again }) => {
  const frame = el("div", {
    class: "picture",
    tabindex: 0,
    role: "region",
    "aria-label": "The node's chain of services",
  });
  root.replaceChildren(
    frame,
    el(
      "p",
      { class: "soft" },
      "↑ what leaves, ↓ what comes, ✕ what the device itself has dropped: packets, as the devices count them. Of a pod only what " +
        "it sends is shown: what lbrp hands to it goes past its device's counter. Red: a program is missing.",
    ),
  );
  const narrow = matchMedia(`(max-width: ${NARROW}px)`);
  narrow.addEventListener("change", again);
  return {
    async refresh(signal) {
      const now = await ask<TopologyNow>("topology", {}, signal);
      frame.replaceChildren(draw(now, narrow.matches));
    },
    leave: () => narrow.removeEventListener("change", again),
  };
};

function draw({ topology, devices }: TopologyNow, narrow: boolean): SVGElement {
  const { width, height, shapes } = narrow ? drawNarrow(topology) : drawTopology(topology, 24, 130);
  const pods = new Set(topology.pods.map(({ name }) => name));
  return svg(
    "svg",
    {
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-labelledby": "picture-title",
    },
    svg("title", { id: "picture-title" }, "The node's chain of services"),
    ...shapes.flatMap((shape) => elements(shape, devices, pods)),
  );
}

function elements(
  shape: Shape,
  devices: TopologyNow["devices"],
  pods: ReadonlySet<string>,
): SVGElement[] {
  if (shape.kind === "wire") return [svg("path", { d: shape.path })];
  const { x, y, text } = shape;
  const known = shape.device === undefined ? undefined : devices[shape.device];
  if (shape.kind === "note") {
    const mark = known && markOf(known, pods.has(shape.device));
    return [
      svg("text", { x, y: y - 5, class: "note" }, text),
      ...mark ? [svg("text", { x, y: y + 14, class: mark.class }, mark.text)] : [],
    ];
  }
  const mark = known && markOf(known, false);
  return [
    svg("rect", { x, y: y - 13, width: shape.width, height: 26, rx: 5, class: shape.tone }),
    svg("text", { x: x + 10, y: y + 5 }, text),
    ...mark
      ? [
        svg(
          "text",
          { x: x + shape.width - 8, y: y + 5, "text-anchor": "end", class: mark.class },
          mark.text,
        ),
      ]
      : [],
  ];
}

function markOf({ received, sent, dropped }: DeviceRate, pod: boolean) {
  const busy = (received ?? 0) + (pod ? 0 : sent ?? 0) > 0;
  const flow = pod ? `↑ ${rate(received)}` : `↓ ${rate(received)}  ↑ ${rate(sent)}`;
  const lost = dropped > 0 ? `  ✕ ${dropped}` : "";
  return {
    text: flow + lost,
    class: `mark ${dropped > 0 ? "dropped" : busy ? "busy" : ""}`,
  };
}
