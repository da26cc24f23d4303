/**
 * The stack of a chain of calls as Linux 5.10 counts it (check_max_stack_depth() in kernel/bpf/verifier.c): each
 * function's is rounded up to 32 bytes, a chain has 512 bytes and eight functions. The kernel that runs the tests may
 * load what 5.10 refuses: Linux 6.18 loaded a chain of 544.
 */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { objects } from "../../src/build/objects.ts";
import { root } from "../../src/build/steps.ts";
import * as needs from "../support/needs.ts";

const OBJDUMP = "/usr/bin/llvm-objdump";
const STACK = 512, FUNCTIONS = 8;
const FRAME_POINTER = 10;

interface Func {
  readonly name: string;
  readonly section: string;
  stack: number;
  /** "section:instruction", or a symbol's name. */
  readonly calls: string[];
}

/** The functions of an object, by "section:instruction" and by name. Throws where objdump prints something else. */
function functions(listing: string): Map<string, Func> {
  const found = new Map<string, Func>();
  let section = "", current: Func = { name: "", section, stack: 0, calls: [] };
  let copies = new Set<number>(); // registers that hold the frame pointer
  for (const line of listing.split("\n")) {
    section = line.match(/^Disassembly of section (.+):$/)?.[1] ?? section;
    const label = line.match(/^([0-9a-f]+) <(?!LBB)(.+)>:$/);
    if (label) {
      current = { name: label[2]!, section, stack: 0, calls: [] };
      found.set(`${section}:${parseInt(label[1]!, 16) / 8}`, current).set(current.name, current);
      copies = new Set();
    }
    const code = line.match(/^\s*(\d+):\s+((?:[0-9a-f]{2}[ \t]){8})/);
    if (code) {
      const bytes = Uint8Array.from(code[2]!.trim().split(/\s+/), (byte) => parseInt(byte, 16));
      follow(current, copies, Number(code[1]), bytes);
    }
    const symbol = line.match(/R_BPF_64_32\s+(\S+)$/)?.[1];
    // A static function has its section's symbol, and its place in the instruction.
    if (symbol) {
      const call = current.calls.pop()!.split(":");
      const from = Number(line.trim().split(":")[0]!.replace(/^0*(?=.)/, "0x")) / 8;
      const place = Number(call[1]) - from;
      current.calls.push(symbol.startsWith(".") ? `${symbol}:${place}` : symbol);
    }
  }
  return found;
}

/** What one instruction adds to a function's stack and calls (Documentation/bpf/standardization/instruction-set.rst). */
function follow(func: Func, copies: Set<number>, at: number, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer);
  const opcode = bytes[0]!, to = bytes[1]! & 15, from = bytes[1]! >> 4;
  const offset = view.getInt16(2, true), immediate = view.getInt32(4, true);
  const kind = opcode & 7, load = 1, store = kind === 2 || kind === 3;
  const below = (bytes: number) => func.stack = Math.max(func.stack, -bytes);
  if (kind === load && from === FRAME_POINTER || store && to === FRAME_POINTER) below(offset);
  if (opcode === 0x85 && from === 1) func.calls.push(`${func.section}:${at + immediate + 1}`);
  if (opcode === 0xbf && from === FRAME_POINTER) copies.add(to); // rX = r10
  else if (opcode === 0x07 && copies.has(to)) below(immediate); // rX += number
  else if (!store) copies.delete(to);
}

/** The chain of calls from `func` on that takes most of `cost`. */
function longest(
  func: Func,
  all: Map<string, Func>,
  cost: (func: Func) => number,
  known = new Map<Func, Func[]>(),
): Func[] {
  const total = (chain: Func[]) => chain.reduce((sum, each) => sum + cost(each), 0);
  let chain = known.get(func);
  if (chain) return chain;
  chain = [];
  for (const call of func.calls) {
    const callee = all.get(call);
    assert.ok(callee, `${func.name} calls ${call}, which is no function`);
    const other = longest(callee, all, cost, known);
    if (total(other) > total(chain)) chain = other;
  }
  known.set(func, [func, ...chain]);
  return known.get(func)!;
}

const frame = (func: Func) => Math.max(32, Math.ceil(func.stack / 32) * 32);

Deno.test({
  name: "no program takes more stack, or calls deeper, than Linux 5.10 allows",
  ignore: !needs.file(OBJDUMP),
  async fn() {
    for (const object of objects) {
      const { stdout } = await new Deno.Command(OBJDUMP, { args: ["-d", "-r", join(root, object)] })
        .output();
      const all = functions(new TextDecoder().decode(stdout));
      const programs = [...new Set(all.values())].filter(({ section }) => section !== ".text");
      assert.ok(programs.length > 0, object);
      for (const program of programs) {
        const deep = longest(program, all, frame);
        const sizes = deep.map((func) => `${func.name} ${frame(func)}`).join(", ");
        const stack = deep.reduce((sum, func) => sum + frame(func), 0);
        assert.ok(stack <= STACK, `${basename(object)}: ${stack} bytes: ${sizes}`);
        const calls = longest(program, all, () => 1).map(({ name }) => name);
        assert.ok(calls.length <= FUNCTIONS, `${basename(object)}: ${calls.join(", ")}`);
        assert.ok(calls.length > 1 || program.calls.length === 0, program.name);
      }
    }
  },
});
