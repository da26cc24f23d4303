/** The programs' own time for a packet that is dropped: no listener, pcnk monitor, programs without a monitor. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "../../src/build/steps.ts";
import type { DataPlane } from "../../src/bpf/dataplane.ts";
import { type LoadedObject, loadObject } from "../../src/bpf/object.ts";
import { testRun } from "../../src/bpf/testrun.ts";
import { udp } from "../bpf/support/packet.ts";
import { type Context, interleave, pause } from "./measure.ts";
import { type Found, series } from "./result.ts";
import type { Stage } from "./stage.ts";

/** Packets a second that the cost is reckoned for. */
const RATE = 100_000;
/** Between two handfuls of packets; a tick of the listener's. */
const TICK_MS = 20;
const HANDFUL = RATE * TICK_MS / 1000;
const TICKS = 25;

/** lbrp as it would be without a monitor, on maps of the node's. */
function withoutMonitor(stage: Stage, plane: DataPlane): LoadedObject {
  const file = join(stage.dir, "silent.bpf.o");
  const flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-DPCNK_NO_MONITOR"];
  const include = `/usr/include/${Deno.build.arch}-linux-gnu`;
  const source = join(root, "bpf/lbrp.bpf.c");
  run("clang", [...flags, "-I", join(root, "bpf"), "-I", include, "-c", source, "-o", file]);
  const object = loadObject(new Uint8Array(readFileSync(file)), { pinDir: `${plane.bpffs}/map` });
  stage.defer(() => object.close());
  return object;
}

/** Nanoseconds of a packet, at the rate of the bar for half a second. */
async function perPacket(fd: number, packet: Uint8Array): Promise<number> {
  let sum = 0;
  for (let tick = 0; tick < TICKS; tick++) {
    sum += testRun(fd, packet, { repeat: HANDFUL, ifindex: 1 }).durationNs;
    await pause(TICK_MS);
  }
  return sum / TICKS;
}

/** Words of `pcnk monitor`; undefined: no listener. */
export type Listener = readonly string[] | undefined;

/**
 * @param beside runs work while a monitor of these words listens
 * @returns share of a CPU that a listener adds at the rate of the bar; what the silent monitor adds to a packet
 */
export async function programCost(
  context: Context,
  beside: <T>(listener: Listener, work: () => Promise<T>) => Promise<T>,
  { stage, plane }: { stage: Stage; plane: DataPlane },
): Promise<Found["values"]> {
  const packet = udp({ src: "10.244.1.2:40000", dst: "10.96.0.2:9" });
  const fd = plane.programFd("lbrp_from_pod");
  const without = withoutMonitor(stage, plane).program("lbrp_from_pod");
  const values = await interleave({ ...context, runs: Math.ceil(context.runs / 2) }, {
    "no listener": () => perPacket(fd, packet),
    listening: () => beside([], () => perPacket(fd, packet)),
    without: () => perPacket(without, packet),
  });
  const silent = values["no listener"]!;
  const added = values.listening!.map((ns, i) => (ns - silent[i]!) * RATE / 1e9 * 100);
  const micro = Object.entries(values).map(([name, list]) => [name, list.map((ns) => ns / 1000)]);
  return { added, ...series("packet", Object.fromEntries(micro)) };
}
