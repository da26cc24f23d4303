/** The transitional programs over a table of sessions of release 0.1.0's layout, in a phase of the conversion. */
import { readArtifact } from "../../../src/bpf/artifacts.ts";
import { zero } from "../../../src/bpf/codec.ts";
import { FORMER_LAYOUTS } from "../../../src/bpf/former_layouts.ts";
import { conversionMaps, maps, type Session } from "../../../src/bpf/layout.ts";
import { BpfMap, type MapOf } from "../../../src/bpf/map.ts";
import { loadObject } from "../../../src/bpf/object.ts";
import { MAP_TYPE, mapCreate } from "../../../src/bpf/syscall.ts";
import type { Load } from "./world.ts";

/** What a test looks into. */
export interface Tables {
  /** In today's layout as far as the former one has it. */
  former: MapOf<typeof maps.sessions>;
  today: MapOf<typeof maps.sessions>;
  setPhase(phase: number): void;
}

/** Loads the transitional programs; `sessions` of the world is the former table. `tables` gets both. */
export function loadConverting(tables: (tables: Tables) => void = () => {}): Load {
  return (maxEntries) => {
    const { key, value } = FORMER_LAYOUTS.sessions![1]!;
    const sizes = { keySize: key.size, valueSize: value.size, maxEntries: 65536 };
    const fd = mapCreate({ type: MAP_TYPE.LRU_HASH, ...sizes, name: "sessions" });
    const former = BpfMap.fromFd(fd, maps.sessions.key, {
      ...value,
      decode: (view, offset): Session => ({
        ...zero(maps.sessions.value),
        ...value.decode(view, offset),
      }),
    });
    const how = {
      substitute: new Map([["sessions_former", fd]]),
      constants: { ".rodata.former": 1 },
    };
    const [first, second] = ["lbrp_converting.bpf.o", "k8sdispatcher_converting.bpf.o"];
    const lbrp = loadObject(readArtifact(first!), { maxEntries, ...how });
    const dispatcher = loadObject(readArtifact(second!), { share: lbrp.maps, ...how });
    tables({
      former,
      today: lbrp.map(maps.sessions),
      setPhase(phase) {
        using state = lbrp.map(conversionMaps.conversion);
        state.set(0, { phase, map: 0 });
      },
    });
    return { lbrp, dispatcher, sessions: former };
  };
}
