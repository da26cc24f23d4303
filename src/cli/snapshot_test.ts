/**
 * What commands print of a fixed state, compared with what is kept in testdata/. After a change on purpose:
 * UPDATE_SNAPSHOTS=1 deno test -A src/cli/snapshot_test.ts, and look at the difference.
 */
import { equal, ok } from "node:assert/strict";
import { parse } from "yaml";
import { formatRows, FORMATS } from "../view/format.ts";
import { resources } from "../view/resources.ts";
import { painter, widthOf } from "../view/terminal.ts";
import { renderTopology } from "../view/topology.ts";
import { renderDescription } from "./describe.ts";
import { runCli } from "./main.ts";
import { renderStatus } from "./status.ts";
import { description, findings, rows, topology, traced } from "./model_support.ts";
import { renderTrace } from "./trace.ts";

const plain = painter(false), colored = painter(true);
const testdata = new URL("./testdata/", import.meta.url);

function same(name: string, text: string): void {
  const file = new URL(`${name}.txt`, testdata);
  if (Deno.env.get("UPDATE_SNAPSHOTS")) Deno.writeTextFileSync(file, text);
  equal(text, Deno.readTextFileSync(file), `src/cli/testdata/${name}.txt`);
}

async function help(words: string, width: number): Promise<string> {
  let text = "";
  const out = (part: string) => void (text += part);
  // Without a terminal commander takes 80, and the test may have one.
  const columns = width === Infinity ? 80 : width;
  await runCli([...words.split(" "), "--help"], { out, err: out, width: columns });
  return text.trimEnd();
}

/** Help of the commands that look; others' options change more often than their form. */
const HELPED = ["status", "get", "topology", "log-level", "completion"];

async function page(width: number): Promise<string> {
  const parts: [string, string][] = [
    ["pcnk status", renderStatus(findings, plain, width)],
    ["pcnk describe service web", renderDescription(description, plain, width)],
    ["pcnk topology", renderTopology(topology, plain, 12, width)],
    ["pcnk trace default/curl 198.51.100.10:8080", renderTrace(traced, plain, width)],
  ];
  for (const words of HELPED) parts.push([`pcnk ${words} --help`, await help(words, width)]);
  return parts.map(([call, text]) => `$ ${call}\n${text}\n`).join("\n");
}

for (
  const [name, width] of [["60", 60], ["80", 80], ["120", 120], ["200", 200], [
    "no-terminal",
    Infinity,
  ]] as const
) {
  Deno.test(`status, describe, topology, trace and help look as they should at width ${name}`, async () => {
    same(`width-${name}`, await page(width));
  });
}

Deno.test("status, topology and findings stay within the terminal, also in colour", () => {
  for (const width of [60, 80, 120, 200]) {
    const texts = [
      renderStatus(findings, colored, width),
      renderTopology(topology, colored, 12, width),
      renderDescription(description, colored, width).replace(/^[^→]*/, ""),
      renderTrace(traced, colored, width),
    ];
    for (const line of texts.join("\n").split("\n")) {
      ok(widthOf(line) <= Math.max(width, 80), `${widthOf(line)} of ${width}: ${line}`);
    }
  }
});

Deno.test("colour is in nothing that is not painted, and changes no text", () => {
  const paints = [plain, colored].map((paint) =>
    [
      renderStatus(findings, paint),
      renderDescription(description, paint),
      renderTopology(topology, paint),
      renderTrace(traced, paint),
    ].join("\n")
  );
  // deno-lint-ignore no-control-regex -- the escape codes of a terminal
  equal(paints[1]!.replaceAll(/\x1b\[\d+m/g, ""), paints[0]);
  ok(!paints[0]!.includes("\x1b"));
  ok(paints[1]!.includes("\x1b[31mbad"));
});

Deno.test("get shows each kind in each format as it should, a row a line", () => {
  const parts: string[] = [];
  for (const resource of resources) {
    const of = rows[resource.name];
    ok(of !== undefined && of.length > 0, `no model of ${resource.name}`);
    for (const format of FORMATS) {
      const text = formatRows(resource, of, format, plain);
      parts.push(
        `$ pcnk get ${resource.name}${format === "table" ? "" : ` -o ${format}`}\n${text}`,
      );
      if (format === "table" || format === "wide") equal(text.split("\n").length, of.length + 2);
    }
  }
  same("get", parts.join("\n"));
});

Deno.test("get -o json and -o yaml say the same, and name every row as -o name does, which says each once", () => {
  for (const resource of resources) {
    const of = rows[resource.name]!;
    const json = JSON.parse(formatRows(resource, of, "json", plain));
    equal(JSON.stringify(parse(formatRows(resource, of, "yaml", plain))), JSON.stringify(json));
    const names = json.items.map(({ name }: { name: string }) => `${resource.name}/${name}\n`);
    equal(formatRows(resource, of, "name", plain), [...new Set(names)].join(""));
  }
});
