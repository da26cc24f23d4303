/// <reference lib="dom" />
/** The node's topology as a picture, with what goes through it. */
import { type Mark, type SvgNode, topologySvg } from "../../view/topology_picture.ts";
import type { DeviceRate, TopologyNow } from "../types.ts";
import { ask } from "./ask.ts";
import { el, rate } from "./dom.ts";
import type { MakeView } from "./view.ts";

/** Pixels below which the parts stand one below the other. */
const NARROW = 700;

export const topologyView: MakeView = ({ root, again }) => {
  const frame = el("div", {
    class: "picture",
    tabindex: 0,
    role: "region",
    "aria-label": "The topology of this node",
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

function draw({ topology, devices }: TopologyNow, narrow: boolean): Node {
  const mark = (device: string, pod: boolean) => {
    const known = devices[device];
    return known && markOf(known, pod);
  };
  return nodeOf(topologySvg(topology, { narrow, mark }));
}

/** Elements and text nodes: the page's policy allows no parsing of markup (trusted types). */
function nodeOf(node: SvgNode): Node {
  if (typeof node === "string") return document.createTextNode(node);
  const element = document.createElementNS("http://www.w3.org/2000/svg", node.tag);
  for (const [name, value] of Object.entries(node.attributes)) {
    if (name !== "xmlns") element.setAttribute(name, String(value));
  }
  element.append(...node.children.map(nodeOf));
  return element;
}

function markOf({ received, sent, dropped }: DeviceRate, pod: boolean): Mark {
  const busy = (received ?? 0) + (pod ? 0 : sent ?? 0) > 0;
  const flow = pod ? `↑ ${rate(received)}` : `↓ ${rate(received)}  ↑ ${rate(sent)}`;
  const lost = dropped > 0 ? `  ✕ ${dropped}` : "";
  return {
    text: flow + lost,
    class: `mark ${dropped > 0 ? "dropped" : busy ? "busy" : ""}`.trimEnd(),
  };
}
