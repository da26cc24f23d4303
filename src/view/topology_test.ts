import { equal, match, ok } from "node:assert/strict";
import { painter } from "./terminal.ts";
import { drawNarrow, drawTopology, type Topology, topologySvg } from "./picture.ts";
import { renderTopology } from "./topology.ts";

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
  default/web-1 10.1.0.2   ── veth1     ── [lbrp]    ─┐
  pod 10.1.0.3             ── veth22    ── [nothing] ─┤
  the node's own processes ── connect() ── [hostlb]  ─┤
                                                      │
                                                      ├─ pcnk0 [lbrp]   what the stack sends to pods
                                                      ├─ pcnk_vxlan [k8sdispatcher]
                                                      │     └─ node2 10.2.0.0/24
                                                      └─ eth0 192.168.0.11 [k8sdispatcher]
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

Deno.test("topologySvg() is a picture of its own, with names that cannot break it", () => {
  const [pod] = topology.pods;
  const svg = topologySvg({ ...topology, pods: [{ ...pod!, pod: "default/<script>&" }] });
  match(svg, /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  match(svg, /default\/&lt;script&gt;&amp; 10\.1\.0\.2/);
  ok(!svg.includes("<script>"));
});

Deno.test("topologySvg() has room for the names of a real cluster", () => {
  const pod = "kube-system/coredns-74ff55c5b-" + "x".repeat(80);
  const [first] = topology.pods;
  const nodes = [`${"n".repeat(63)} 10.244.117.0/24`];
  const svg = topologySvg({
    ...topology,
    pods: [{ ...first!, pod: "kube-system/coredns-74ff55c5b-abcde" }, { ...first!, pod }],
    tunnels: [{ ...topology.tunnels[0]!, nodes }],
  });
  const width = Number(/width="(\d+)"/.exec(svg)![1]);
  const boxes = [
    ...svg.matchAll(/<rect x="(\d+)" y="\d+" width="(\d+)" [^>]*\/><text[^>]*>([^<]*)</g),
  ];
  ok(boxes.length >= 8);
  for (const [, x, wide, text] of boxes) {
    // 13 px text takes up to 8 a character, and starts 10 right of its box's edge.
    ok([...text!].length * 8 + 10 <= Number(wide), text);
    ok(Number(x) + Number(wide) < width, text);
  }
  match(svg, /kube-system\/coredns-74ff55c5b-abcde 10\.1\.0\.2/);
});

Deno.test("drawTopology() and drawNarrow() keep every shape within the picture, and know each device", () => {
  for (const { width, height, shapes } of [drawTopology(topology), drawNarrow(topology)]) {
    const devices = new Set<string>();
    for (const shape of shapes) {
      if (shape.kind === "wire") continue;
      if (shape.device !== undefined) devices.add(shape.device);
      const right = shape.x + (shape.kind === "box" ? shape.width : 0);
      ok(shape.x >= 0 && right <= width && shape.y > 0 && shape.y + 13 <= height, shape.text);
    }
    for (const name of ["veth1", "veth22", "pcnk0", "pcnk_vxlan", "eth0"]) {
      ok(devices.has(name), name);
    }
  }
});
