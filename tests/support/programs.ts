/** The smallest tc programs: a verdict, nothing else; made of instructions, so that no compiler is needed. */
import { address, cstring, syscall } from "../../src/linux/libc.ts";

const BPF_PROG_LOAD = 5;
const BPF_PROG_TYPE_SCHED_CLS = 3;

/** Loads `return verdict` and returns its descriptor. */
export function verdictProgram(name: string, verdict = 0): number {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0xb7); // r0 = verdict
  view.setInt32(4, verdict, true);
  view.setUint8(8, 0x95); // exit
  const license = cstring("GPL");
  const attr = new Uint8Array(72); // union bpf_attr up to prog_ifindex
  const fields = new DataView(attr.buffer);
  fields.setUint32(0, BPF_PROG_TYPE_SCHED_CLS, true);
  fields.setUint32(4, bytes.length / 8, true);
  fields.setBigUint64(8, BigInt(address(bytes)), true);
  fields.setBigUint64(16, BigInt(address(license)), true);
  attr.set(new TextEncoder().encode(name), 48);
  return syscall("bpf", BPF_PROG_LOAD, attr, attr.length, license, bytes); // the last two: held until it returns
}
