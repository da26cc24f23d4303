/** The smallest tc programs: a verdict, nothing else; made of instructions, so that no compiler is needed. */
import { progLoad } from "../../src/bpf/syscall.ts";

const BPF_PROG_TYPE_SCHED_CLS = 3;

/** Loads `return verdict` and returns its descriptor. */
export function verdictProgram(name: string, verdict = 0): number {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0xb7); // r0 = verdict
  view.setInt32(4, verdict, true);
  view.setUint8(8, 0x95); // exit
  return progLoad(BPF_PROG_TYPE_SCHED_CLS, bytes, name);
}
