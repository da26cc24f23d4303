/** No packet without a reason: every way out of a packet program is looked at in its text. */
import assert from "node:assert/strict";

const folder = new URL("../../bpf/", import.meta.url).pathname;

/** They end a packet's way and count nothing: who calls them counts first. */
const SENDERS = [
  ...["redirect_into_pod", "reply_send", "uplink_send", "uplink_sent", "world_send"],
  "strip_outer_headers",
];
/** Not verdicts yet: the entry point goes on with the packet, or ends it as the function that returned, or gets it again. */
const DEFERRED =
  /^(WORLD_REFUSED|WORLD_FOLLOWED|SESSION_PICKED|verdict)$|^(uplink_sent|strip_outer_headers)\(/;
/** What ends a packet's way without one of pcnk's functions. */
const RAW = /\bTC_ACT_\w+|\bbpf_redirect\w*\(/;
const COUNT = /^\s*count(_packet)?\(/;

interface Fn {
  name: string;
  where: string;
  lines: string[];
}

/** Functions that return a packet's verdict: those that are static or entry points, return int and get a packet. */
function verdictFunctions(file: string): Fn[] {
  const lines = Deno.readTextFileSync(folder + file).split("\n");
  const found: Fn[] = [];
  lines.forEach((line, i) => {
    const head = /^(?:static .*\bint|int) (\w+)\((struct __sk_buff \*skb)?/.exec(line);
    const entry = lines[i - 1] === 'SEC("tc")';
    if (!head || !(head[2] ? line.startsWith("static") || entry : SENDERS.includes(head[1]!))) {
      return;
    }
    const end = lines.indexOf("}", i);
    // A statement that goes over several lines becomes one.
    const body = lines.slice(lines.indexOf("{", i) + 1, end).join("\n").replace(
      /([^;{}:/])\n\s+(?=[^\s])/g,
      (all, last, at, text) => /\/\*[^\n]*$/.test(text.slice(0, at + 1)) ? all : `${last} `,
    );
    found.push({ name: head[1]!, where: `${file}:${i + 1}`, lines: body.split("\n") });
  });
  return found;
}

const files = [
  "lbrp.bpf.c",
  "k8sdispatcher.bpf.c",
  ...[...Deno.readDirSync(`${folder}lib`)].map(({ name }) => `lib/${name}`).filter((name) =>
    !name.includes("hostlb")
  ),
];
const functions = files.flatMap(verdictFunctions);
const deciders = new Set(functions.map(({ name }) => name));

const indent = (line: string) => /^\t*/.exec(line)![0].length;

/** Is something counted on every way to line `at`: at its own depth of blocks or one around it? */
function countedBefore(lines: string[], at: number): boolean {
  let depth = indent(lines[at]!);
  for (let i = at - 1; i >= 0; i--) {
    if (lines[i]!.trim() === "" || indent(lines[i]!) > depth) continue;
    // The body of an `if` without braces: what stands before the `if` counts.
    depth = indent(lines[i]!);
    if (COUNT.test(lines[i]!)) return true;
  }
  return false;
}

Deno.test("every return of a packet program has a reason", () => {
  assert.ok(functions.length > 40, `only ${functions.length} functions found`);
  const wrong: string[] = [];
  for (const { name, where, lines } of functions) {
    if (SENDERS.includes(name)) continue;
    lines.forEach((line, at) => {
      const found = /\breturn (.*);/.exec(line)?.[1];
      if (found === undefined) return;
      // `cond ? a : b ? c : d`: what may come out.
      const ways = found.includes("?") ? found.split(/[?:]/).slice(1) : [found];
      for (const way of ways.map((one) => one.trim())) {
        const called = /^(\w+)\(/.exec(way)?.[1] ?? "";
        const bare = RAW.test(way) || SENDERS.includes(called);
        const middle = ways.length > 1 && ways.indexOf(way) < ways.length - 1 && !called && !bare;
        if (middle || (deciders.has(called) && !SENDERS.includes(called))) continue;
        if (DEFERRED.test(way) || (bare && countedBefore(lines, at))) continue;
        wrong.push(`${where} ${name}(): ${bare ? "not counted" : "no verdict"}: ${line.trim()}`);
      }
    });
  }
  assert.deepEqual(wrong, []);
});

Deno.test("only functions that give verdicts end a packet's way", () => {
  const known = new Map(functions.map((fn) => [fn.where.split(":")[0], [] as string[]]));
  for (const { where, lines } of functions) known.get(where.split(":")[0])!.push(...lines);
  for (const file of files) {
    const code = Deno.readTextFileSync(folder + file).replace(/\/\*[^]*?\*\//g, "");
    const all = code.match(new RegExp(RAW, "g"))?.length ?? 0;
    const inside = (known.get(file) ?? []).join("\n").replace(/\/\*[^]*?\*\//g, "");
    assert.equal(inside.match(new RegExp(RAW, "g"))?.length ?? 0, all, file);
  }
});
