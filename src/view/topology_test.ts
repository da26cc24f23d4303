import { deepEqual, equal, match, ok } from "node:assert/strict";
import { painter } from "./terminal.ts";
import { renderTopology } from "./topology.ts";
import { standaloneSvg, svgText, topologySvg } from "./topology_picture.ts";
import type { Topology } from "./topology_rows.ts";

const plain = painter(false);

const topology: Topology = {
  pods: [
    { pod: "default/web-1", address: "10.1.0.2", name: "veth1", programs: ["lbrp_from_pod"] },
    { pod: "", address: "10.1.0.3", name: "veth22", programs: [] },
  ],
  bridges: [{ name: "pcnk0", programs: ["lbrp_to_pod"] }],
  tunnels: [{ name: "pcnk_vxlan", programs: ["k8sd_from_overlay"], nodes: ["node2 10.2.0.0/24"] }],
  uplinks: [{
    name: "eth0",
    address: "192.168.0.11",
    programs: ["k8sd_from_uplink", "k8sd_to_uplink"],
    nodes: ["node3 10.3.0.0/24"],
  }],
  hostHooks: 8,
};

Deno.test("renderTopology() draws what is there, and shows where a program is missing", () => {
  equal(
    renderTopology(topology, plain),
    `\
  ┌─ [lbrp]          veth1       default/web-1 10.1.0.2
  ├─ [nothing]       veth22      pod 10.1.0.3
  ├─ [hostlb]        connect()   the node's own processes
  │
  ├─ [lbrp]          pcnk0       from the stack to pods
  ├─ [k8sdispatcher] pcnk_vxlan
  │     └─ node2 10.2.0.0/24
  └─ [k8sdispatcher] eth0        192.168.0.11
        ├─ node3 10.3.0.0/24
        └─ the world`,
  );
});

Deno.test("renderTopology() names some of many pods and nodes, and how many more there are", () => {
  const pods = Array.from({ length: 100 }, (_, i) => ({
    pod: `default/web-${i}`,
    address: `10.1.0.${i}`,
    name: `veth${i}`,
    programs: ["lbrp_from_pod"],
  }));
  const nodes = Array.from({ length: 50 }, (_, i) => `node${i} 10.${i}.0.0/24`);
  const [tunnel] = topology.tunnels;
  const text = renderTopology({ ...topology, pods, tunnels: [{ ...tunnel!, nodes }] }, plain, 5);
  match(text, /… 95 more pods/);
  match(text, /… 45 more\n/);
  ok(text.split("\n").length < 25);
});

Deno.test("renderTopology() puts names below their devices where the terminal is narrow", () => {
  const lines = renderTopology(topology, plain, 12, 50).split("\n");
  deepEqual(lines.slice(0, 2), ["  ┌─ [lbrp]          veth1", "  │     └─ default/web-1 10.1.0.2"]);
  ok(lines.every((line) => line.length <= 50));
});

Deno.test("standaloneSvg() has names that cannot break it", () => {
  const [pod] = topology.pods;
  const svg = standaloneSvg({ ...topology, pods: [{ ...pod!, pod: "default/<script>&" }] });
  match(svg, /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  match(svg, /default\/&lt;script&gt;&amp; 10\.1\.0\.2/);
  ok(!svg.includes("<script>"));
});

const BOX = /<rect x="(\d+)" y="(\d+)" width="(\d+)" [^>]*\/>\n<text[^>]*>([^<]*)</g;

Deno.test("standaloneSvg() has room for the names of a real cluster", () => {
  const pod = "kube-system/coredns-74ff55c5b-" + "x".repeat(80);
  const [first] = topology.pods;
  const nodes = [`${"n".repeat(63)} 10.244.117.0/24`];
  const svg = standaloneSvg({
    ...topology,
    pods: [{ ...first!, pod: "kube-system/coredns-74ff55c5b-abcde" }, { ...first!, pod }],
    tunnels: [{ ...topology.tunnels[0]!, nodes }],
  });
  const boxes = [...svg.matchAll(BOX)];
  ok(boxes.length >= 8);
  for (const [, , , wide, text] of boxes) {
    // 13 px text takes up to 8 a character, and starts 10 right of its box's edge.
    ok([...text!].length * 8 + 10 <= Number(wide), text);
  }
  match(svg, /kube-system\/coredns-74ff55c5b-abcde 10\.1\.0\.2/);
});

Deno.test("topologySvg() keeps every box within the picture, wide and narrow, and marks each device", () => {
  for (const narrow of [false, true]) {
    const marked: string[] = [];
    const mark = (device: string, pod: boolean) => {
      marked.push(`${device}${pod ? " of a pod" : ""}`);
      return { text: `↓ ${device}`, class: "mark busy" };
    };
    const svg = svgText(topologySvg(topology, { narrow, mark }));
    const [, width, height] = /width="(\d+)" height="(\d+)"/.exec(svg)!.map(Number);
    for (const [, x, y, wide, text] of svg.matchAll(BOX)) {
      ok(Number(x) + Number(wide) < width! && Number(y) > 0 && Number(y) + 26 < height!, text);
    }
    const pods = ["veth1 of a pod", "veth22 of a pod", "connect() of a pod"];
    deepEqual(marked, [...pods, "pcnk0", "pcnk_vxlan", "eth0"]);
    match(svg, /class="mark busy"[^>]*>↓ eth0</);
    equal(svg.match(/class="bad"/g)?.length, 1, "one program is missing");
  }
});
