import assert from "node:assert/strict";
import {
  CONTENDERS,
  CURVE,
  EVIL,
  HOSTILE,
  measure,
  OVER_TIME,
  PATHS,
  report,
} from "../test_support.ts";
import { plots } from "./plots.ts";
import { looks } from "./looks.ts";
import { assertApart, elements } from "./xml_support.ts";

const draw = (...measures: Parameters<typeof report>[0]) => plots(report(measures));
const one = (...measures: Parameters<typeof report>[0]) => elements(draw(...measures)[0]!.svg);

Deno.test("plots() makes well-formed XML without NaN, whatever the values and names are", () => {
  for (const { svg, id } of draw(...HOSTILE)) {
    const all = elements(svg);
    assert.equal(all[0]?.name, "svg", id);
    assert.doesNotMatch(svg, /NaN|Infinity|undefined|null/, id);
    assert.ok(!all.some(({ name }) => name === "script"), `${id}: a name became an element`);
  }
});

Deno.test("plots() keeps every text inside the picture and off the others", () => {
  for (const { svg, id } of draw(measure(), OVER_TIME, CURVE, ...HOSTILE)) assertApart(svg, id);
});

Deno.test("plots() draws a bar's quartiles, median and range for every line", () => {
  const all = one(measure());
  const boxes = all.filter(({ name, attributes }) =>
    name === "rect" && attributes.fill?.startsWith("#") && attributes.height === "14" &&
    attributes["fill-opacity"] === undefined
  );
  assert.equal(boxes.length, CONTENDERS.length * PATHS.length);
  const bars = all.filter(({ attributes }) => attributes["fill-opacity"] === "0.28");
  assert.equal(bars.length, boxes.length);
  for (const [i, bar] of bars.entries()) {
    // The samples are 0.8, 0.9, 1, 1.1 and 1.2 of the median, and bars begin at 0.
    const [start, length] = [Number(bar.attributes.x), Number(bar.attributes.width)];
    const box = boxes[i]!.attributes;
    assert.ok(Math.abs(Number(box.x) - start - 0.9 * length) < 0.1, "first quartile");
    assert.ok(Math.abs(Number(box.width) - 0.2 * length) < 0.1, "third quartile");
  }
  const first = Number(bars[0]!.attributes.width);
  assert.ok(Math.abs(Number(bars[1]!.attributes.width) / first - 0.9) < 0.01, "9/10 of pcnk's");
  const texts = all.filter(({ name }) => name === "text").map(({ text }) => text);
  assert.ok(texts.includes("40.0 Gbit/s") && texts.includes("36.0 … 44.0"), texts.join("\n"));
});

for (const plotted of [OVER_TIME, CURVE]) {
  Deno.test(`plots() draws line, band and marks of every contender over ${plotted.id}`, () => {
    const all = one(plotted);
    const strokes = all.filter(({ name, attributes }) =>
      name === "path" && attributes["stroke-linejoin"] === "round"
    );
    const bands = all.filter(({ attributes }) => attributes["fill-opacity"] === "0.16");
    assert.equal(strokes.length, CONTENDERS.length * PATHS.length);
    assert.equal(bands.length, strokes.length);
    const points = plotted.lines[0]!.points.length;
    for (const { attributes } of strokes) {
      assert.equal(attributes.d!.split(/[ML]/).length - 1, points, attributes.d);
    }
    assert.equal(
      new Set(strokes.map(({ attributes }) => attributes.stroke)).size,
      CONTENDERS.length,
    );
  });
}

Deno.test("plots() spaces values evenly where both axes are logarithmic", () => {
  const stroke = one(CURVE).find(({ attributes }) => attributes["stroke-linejoin"] === "round")!;
  const at = stroke.attributes.d!.slice(1).split("L").map((point) => point.split(",").map(Number));
  const [[x0, y0], [x1, y1], [x2, y2]] = at as [number[], number[], number[]];
  assert.ok(Math.abs(x1! - x0! - (x2! - x1!)) < 0.1, "x");
  assert.ok(Math.abs(y1! - y0! - (y2! - y1!)) < 0.1, "y");
});

Deno.test("plots() breaks a line where values are missing", () => {
  const gap = HOSTILE.find(({ id }) => id === "time gap")!;
  const stroke = one(gap).find(({ attributes }) => attributes["stroke-linejoin"] === "round")!;
  assert.equal(stroke.attributes.d!.match(/M/g)!.length, 2);
});

Deno.test("plots() names failed lines and why they failed", () => {
  const failing = { ...measure().lines[1]!, points: [], failed: "iperf3 is not installed" };
  for (const plot of ["bars", "time", "curve"] as const) {
    const all = one(measure({ plot, lines: [measure().lines[0]!, failing] }));
    const drawn = all.filter(({ name }) => name === "text").map(({ text }) => text).join("\n");
    assert.match(drawn, /iperf3 is not installed/, plot);
  }
});

Deno.test("plots() tells title and figures to those who cannot see the picture", () => {
  const all = one(measure({ title: `A & B <${EVIL}>` }));
  assert.equal(all[0]!.attributes.role, "img");
  assert.match(all.find(({ name }) => name === "title")!.text, /^A & B <<\/text><script>/);
  assert.match(
    all.find(({ name }) => name === "desc")!.text,
    /pcnk, pod→pod same node: median 40.0 Gbit\/s/,
  );
});

Deno.test("plots() fetches nothing and takes a paper of its own", () => {
  for (const { svg } of draw(measure(), OVER_TIME, CURVE)) {
    assert.doesNotMatch(svg, /href|url\(|@import|@font-face|<image|<style/);
    assert.match(svg, /<rect [^>]*fill="#ffffff"/);
  }
});

Deno.test("plots() gives each measure a file name of its own that is one name everywhere", () => {
  const names = draw(...["a/b", "a b", "../..", "A-B"].map((id) => measure({ id }))).map((
    { name },
  ) => name);
  assert.deepEqual(names, ["a-b.svg", "a-b-2.svg", "measure.svg", "a-b-3.svg"]);
});

Deno.test("looks() gives a contender one colour, whatever else is there", () => {
  const few = looks(["nft", "pcnk"]), many = looks(["x", "bridge", "nft", "y", "pcnk"]);
  for (const contender of ["nft", "pcnk"]) {
    assert.equal(few.get(contender)!.color, many.get(contender)!.color);
  }
  const twenty = [...looks(Array.from({ length: 20 }, (_, i) => `contender ${i}`)).values()];
  const told = twenty.map(({ color, dash, mark }) => [color, dash, ["mark", mark]]);
  assert.ok(new Set(told.map((each) => JSON.stringify(each))).size > 10);
});
