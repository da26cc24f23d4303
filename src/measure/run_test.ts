import { deepEqual, equal, match } from "node:assert/strict";
import type { Load } from "./loads.ts";
import type { Measure } from "./report.ts";
import { makeReport, measureTestbed, turned } from "./run.ts";
import type { Contender, Path, Testbed } from "./testbed.ts";
import { reportRows } from "./text.ts";
import { congestion } from "./tools.ts";

const PATHS: Path[] = ["pod→service, one node", "pod→pod, one node"];
const where = { netnsPath: "/run/netns/nowhere", cgroup: null };

/** A testbed whose servers are there already; `said` is what was asked of it. */
function testbed(said: string[], contenders: Contender[] = ["pcnk", "nft"]): Testbed {
  return {
    contenders,
    paths: (contender) => contender === "nft" ? PATHS.slice(0, 1) : PATHS,
    carry: (contender) => void said.push(contender),
    client: () => where,
    server: () => undefined,
    port: () => 1,
    target: (path) => ({ address: path, port: 1 }),
    notes: ["made up"],
  };
}

/** `run` gives the figure, or throws. */
function load(run: (contender: string, path: string, x?: number) => number, xs?: number[]): Load {
  const head = { id: "one", title: "One", unit: "s", better: "lower", plot: "bars" } as const;
  return {
    ...{ name: "one", about: "", tool: "pcnk", protocol: "tcp", measures: [head], paths: PATHS },
    ...(xs && { xs }),
    run: (_context, _client, { address }, x) =>
      Promise.resolve([{
        measure: "one",
        ...(x !== undefined && { x }),
        value: run("", address, x),
      }]),
  };
}

function options(loads: Load[], signal = new AbortController().signal, runs = 2) {
  return { loads, runs, seconds: 1, signal, progress() {} };
}

const shape = ({ lines }: Measure) =>
  lines.map(({ contender, path, points, failed }) => [contender, path, points, failed]);

Deno.test("measureTestbed() takes every contender once a round, in turns, and lines in order", async () => {
  const said: string[] = [];
  let count = 0;
  const measures = await measureTestbed(testbed(said), options([load(() => ++count)]));
  deepEqual(said, ["pcnk", "pcnk", "nft", "nft", "pcnk", "pcnk"]);
  deepEqual(shape(measures[0]!), [
    ["pcnk", "pod→pod, one node", [{ samples: [2, 6] }], undefined],
    ["pcnk", "pod→service, one node", [{ samples: [1, 5] }], undefined],
    ["nft", "pod→service, one node", [{ samples: [3, 4] }], undefined],
  ]);
});

Deno.test("measureTestbed() keeps a failure in its line, and goes on", async () => {
  const run = (_: string, path: string, x?: number) => {
    if (path === "pod→pod, one node" && x === 2) throw new Error("refused");
    return x!;
  };
  const [measure] = await measureTestbed(
    testbed([], ["pcnk"]),
    options([load(run, [1, 2, 3])], undefined, 1),
  );
  deepEqual(shape(measure!), [
    ["pcnk", "pod→pod, one node", [1, 3].map((x) => ({ x, samples: [x] })), "at 2: refused"],
    ["pcnk", "pod→service, one node", [1, 2, 3].map((x) => ({ x, samples: [x] })), undefined],
  ]);
});

Deno.test("measureTestbed() tells of a load whose server does not start, and goes on", async () => {
  const broken: Testbed = {
    ...testbed([], ["pcnk"]),
    port: () => {
      throw new Error("no server");
    },
  };
  const [first, second] = await measureTestbed(broken, options([load(() => 1), load(() => 2)]));
  deepEqual(shape(first!), [["pcnk", "pod→service, one node", [], "no server"]]);
  equal(second!.lines[0]!.failed, "no server");
});

Deno.test("measureTestbed() hands over what there is when it is stopped, and the report says so", async () => {
  const control = new AbortController();
  let count = 0;
  const run = () => {
    if (++count === 4) control.abort(new Error("stopped"));
    return count;
  };
  const settings = options([load(run), load(() => 99)], control.signal, 9);
  const measures = await measureTestbed(testbed([]), settings);
  equal(measures.length, 1);
  equal(
    measures[0]!.lines.flatMap(({ points }) => points).flatMap(({ samples }) => samples).length,
    4,
  );
  match(makeReport("1", testbed([]), measures, settings).notes.at(-1)!, /stopped before its end/);
});

Deno.test("reportRows() sets pcnk beside its peers, and marks where it is surely behind", () => {
  const line = (contender: string, samples: number[]) => ({
    contender,
    path: "pod→pod",
    points: [{ samples }],
  });
  const head = {
    id: "rr",
    title: "RR",
    unit: "s",
    better: "lower",
    tool: "x",
    plot: "bars",
  } as const;
  const rows = reportRows({
    measures: [{
      ...head,
      lines: [
        line("pcnk", [2e-6, 2.1e-6, 2.2e-6]),
        line("nft", [4e-6, 4.2e-6, 4.4e-6]),
        line("plain", [1e-6, 1.05e-6, 1.1e-6]),
        { contender: "kube-proxy iptables", path: "pod→pod", points: [], failed: "refused" },
      ],
    }],
  });
  deepEqual(rows[1], [
    "rr",
    "pod→pod",
    "2.10 µs",
    "2.05..2.15 µs",
    "0.50 nft, 2.00! plain, – kube-proxy iptables",
  ]);
});

Deno.test("turned() gives each contender each place equally often", () => {
  const rounds = Array.from({ length: 6 }, (_, i) => turned(["a", "b", "c"], i));
  for (const place of [0, 1, 2]) {
    const counts = Map.groupBy(rounds, (names) => names[place]!);
    deepEqual([...counts.values()].map((list) => list.length), [2, 2, 2]);
  }
});

Deno.test("turned() does not always put one of two before the other", () => {
  const rounds = [0, 1, 2, 3].map((round) => turned(["a", "b"], round).join(""));
  deepEqual(rounds, ["ab", "ba", "ba", "ab"]);
});

Deno.test("congestion() asks for cubic where there is one, and says what it is otherwise", () => {
  deepEqual(congestion("reno bbr cubic\n").args, ["--congestion", "cubic"]);
  const { args, note } = congestion("reno bbr\n");
  deepEqual(args, []);
  match(note, /no cubic \(there is: reno bbr\)/);
  match(congestion("").note, /unknown/);
});
