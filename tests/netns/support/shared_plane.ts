/** A data plane that one case of a test file after another uses: the kernel verifies its programs for a second or two. */
import { takeCalls } from "../../../src/bpf/cni_calls.ts";
import { zero } from "../../../src/bpf/codec.ts";
import { type DataPlane, openDataPlane } from "../../../src/bpf/dataplane.ts";
import { installDataPlane, type InstallOptions } from "../../../src/bpf/install.ts";
import { type MapName, maps, nodeConfig } from "../../../src/bpf/layout.ts";
import { listPins, PIN_DIRECTORIES } from "../../../src/bpf/pins.ts";
import { MAP_TYPE } from "../../../src/bpf/syscall.ts";
import { Sandbox } from "../../support/sandbox.ts";

let sandbox: Sandbox | undefined;
let bpffs = "";
/** What was pinned at first: a case that changes it leaves the data plane to nobody else. */
let whole = "";

const end = () => sandbox?.[Symbol.dispose]();
globalThis.addEventListener("unload", end);

/** Opens the data plane, empty, in place of installDataPlane(); all cases of a file want the same sizes. */
export function sharedPlane({ nl, mapSizes }: Omit<InstallOptions, "bpffs">): DataPlane {
  if (sandbox === undefined || pinned() !== whole) {
    end();
    sandbox = new Sandbox();
    bpffs = `${sandbox.bpffs()}/node`;
    installDataPlane({ bpffs, nl, mapSizes }).close();
    whole = pinned();
  }
  for (const name of listPins(`${bpffs}/link`)) Deno.removeSync(`${bpffs}/link/${name}`);
  takeCalls(bpffs);
  const plane = openDataPlane(bpffs);
  for (const name of Object.keys(maps) as MapName[]) {
    const map = plane.maps[name];
    if (map.type !== MAP_TYPE.ARRAY && map.type !== MAP_TYPE.PERCPU_ARRAY) {
      map.deleteBatch(map.keys() as never[]);
    }
  }
  const { config, counters } = plane.maps;
  config.set(0, zero(nodeConfig));
  counters.setBatch(
    counters.entries().map((
      [reason, cpus],
    ) => [reason, cpus.map(() => ({ packets: 0n, bytes: 0n }))]),
  );
  return plane;
}

function pinned(): string {
  const parts = PIN_DIRECTORIES.filter((part) => part !== "link");
  return JSON.stringify(parts.map((part) => listPins(`${bpffs}/${part}`).sort()));
}
