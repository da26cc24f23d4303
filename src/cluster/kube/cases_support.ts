/**
 * What the source must do on any API server: run against the double beside this file, and against a real one
 * (tests/cluster/api_source_test.ts), which keeps the double honest.
 */
import assert from "node:assert/strict";
import type { Service } from "../../model/objects.ts";
import { othersLabels } from "../metadata.ts";
import type { Recorder } from "../test_support.ts";
import type { KubeSource } from "./source.ts";

/** A server, the connection to it, and a source that follows it with a silence limit of a second. */
export interface World {
  readonly sink: Recorder;
  readonly source: KubeSource;
  /** A name that no other case has. */
  name(word: string): string;
  /** Creates an object in the namespace `default`, or puts another in its place. */
  put(kind: string, name: string, rest: Record<string, unknown>, labels?: Labels): Promise<void>;
  remove(kind: string, name: string): Promise<void>;
  /** Resolves when everything was read and is watched. */
  started(): Promise<void>;
  /** Ends all connections. */
  cut(): void;
  /** Connections stay, and nothing comes through them any more; new ones work. */
  halfOpen(): void;
  /** Runs `act` while connections are refused; the server forgets its history. */
  gap(act: () => Promise<void>): Promise<void>;
  /** Lists of services that were asked for, pages counted; undefined: not counted. */
  lists(): number | undefined;
}

/** With null a label is taken away. */
export type Labels = Record<string, string | null>;

interface SourceCase {
  name: string;
  run(world: World): Promise<void>;
}

const title = (name: string) => `Service default/${name}`;
/** A Service with this port; its address is the server's business. */
const web = (port: number) => ({ spec: { ports: [{ port, protocol: "TCP" }] } });
const portOf = ({ sink }: World, name: string) =>
  (sink.objects.get(title(name)) as Service | undefined)?.ports[0]?.port;
/** A real server may take its time. */
const patienceMs = 30_000;

export const sourceCases: readonly SourceCase[] = [
  {
    name: "reads everything, page by page",
    async run(world) {
      const names = Array.from({ length: 620 }, (_, i) => world.name(`page${i}`));
      await inParallel(names, (name) => world.put("Service", name, web(80)));
      await world.started();
      for (const name of names) assert.equal(portOf(world, name), 80, name);
      assert.equal(world.source.complete, true);
      if (world.lists() !== undefined) assert.equal(world.lists(), 2);
      await inParallel(names, (name) => world.remove("Service", name));
      await world.sink.until(
        () => !names.some((one) => world.sink.objects.has(title(one))),
        patienceMs,
      );
    },
  },
  {
    name: "follows what comes, changes and goes",
    async run(world) {
      const { sink } = world;
      const [a, node, ends] = [world.name("a"), world.name("node"), world.name("ends")];
      await world.started();
      await world.put("Service", a, web(80));
      await sink.until(() => portOf(world, a) === 80);
      await world.put("Service", a, web(81));
      await sink.until(() => portOf(world, a) === 81);
      await world.put("Node", node, { spec: { podCIDR: "10.200.1.0/24" } });
      await sink.until(() => sink.objects.has(`Node ${node}`));
      await world.put("Endpoints", ends, {
        subsets: [{ addresses: [{ ip: "10.1.0.1" }], ports: [{ port: 80 }] }],
      });
      await sink.until(() => sink.objects.has(`Endpoints default/${ends}`));
      await world.remove("Service", a);
      await world.remove("Node", node);
      await world.remove("Endpoints", ends);
      await sink.until(() =>
        ![title(a), `Node ${node}`, `Endpoints default/${ends}`].some((one) =>
          sink.objects.has(one)
        )
      );
    },
  },
  {
    name: "takes only what concerns it",
    async run(world) {
      const { sink } = world;
      const [other, light, heavy] = [world.name("other"), world.name("light"), world.name("heavy")];
      const pod = { spec: { containers: [{ name: "c", image: "none" }] } };
      await world.put("Service", other, web(80), {
        "service.kubernetes.io/service-proxy-name": "x",
      });
      await world.put("Pod", light, pod);
      await world.put("Pod", heavy, pod, { "pcnk.io/weight": "7" });
      await world.started();
      const found = sink.objects.get(`Pod default/${heavy}`);
      assert.equal((found as { weight?: number }).weight, 7);
      assert.ok(!sink.objects.has(title(other)) && !sink.objects.has(`Pod default/${light}`));
      for (const [kind, name] of [["Service", other], ["Pod", light], ["Pod", heavy]] as const) {
        await world.remove(kind, name);
      }
    },
  },
  {
    name: "leaves to others what a label says is theirs, when it comes and when it goes",
    async run(world) {
      const { sink } = world;
      const name = world.name("theirs");
      const ends = { subsets: [{ addresses: [{ ip: "10.1.0.1" }], ports: [{ port: 80 }] }] };
      const both = [title(name), `Endpoints default/${name}`];
      const put = async (labels: Labels) => {
        await world.put("Service", name, web(80), labels);
        await world.put("Endpoints", name, ends, labels);
      };
      const known = (wanted: boolean) =>
        sink.until(() => both.every((one) => sink.objects.has(one) === wanted), patienceMs);
      await world.started();
      for (const label of othersLabels) {
        await put({});
        await known(true);
        await put({ [label]: "" });
        await known(false);
        await put({ [label]: null });
        await known(true);
      }
      await world.remove("Endpoints", name); // before the Service, with which a controller removes it
      await world.remove("Service", name);
      await known(false);
    },
  },
  {
    name: "goes on from where it was when connections are cut, and loses nothing",
    async run(world) {
      const { sink } = world;
      const [a, b] = [world.name("a"), world.name("b")];
      await world.put("Service", a, web(80));
      await world.started();
      const before = world.lists();
      for (let i = 0; i < 3; i++) {
        world.cut();
        await world.put("Service", b, web(90 + i));
        if (i === 1) await world.remove("Service", a);
        await sink.until(() => portOf(world, b) === 90 + i);
      }
      await sink.until(() => !sink.objects.has(title(a)));
      assert.equal(world.lists(), before, "no list was needed");
      await world.remove("Service", b);
    },
  },
  {
    name: "finds what happened in a gap that the server does not remember",
    async run(world) {
      const { sink } = world;
      const [kept, changed, gone, come] = ["kept", "changed", "gone", "come"].map((word) =>
        world.name(word)
      ) as [string, string, string, string];
      for (const name of [kept, changed, gone]) await world.put("Service", name, web(80));
      await world.started();
      await world.gap(async () => {
        await world.remove("Service", gone);
        await world.put("Service", changed, web(81));
        await world.put("Service", come, web(82));
      });
      await sink.until(
        () => portOf(world, come) === 82 && !sink.objects.has(title(gone)),
        patienceMs,
      );
      assert.equal(portOf(world, changed), 81);
      assert.equal(portOf(world, kept), 80);
      assert.ok(!sink.log.includes(`delete ${title(kept)}`));
      await sink.until(() => world.source.trouble === undefined, patienceMs);
      for (const name of [kept, changed, come]) await world.remove("Service", name);
    },
  },
  {
    name: "gives up a connection that is half open",
    async run(world) {
      const { sink } = world;
      const [a, b] = [world.name("a"), world.name("b")];
      await world.put("Service", a, web(80));
      await world.started();
      world.halfOpen();
      await world.remove("Service", a);
      await world.put("Service", b, web(80));
      await sink.until(() => portOf(world, b) === 80 && !sink.objects.has(title(a)), patienceMs);
      await world.remove("Service", b);
    },
  },
];

/** Does `act` for all of `items`, twenty at a time. */
async function inParallel<T>(items: readonly T[], act: (item: T) => Promise<void>) {
  const rest = [...items];
  const worker = async () => {
    for (let item = rest.pop(); item !== undefined; item = rest.pop()) await act(item);
  };
  await Promise.all(Array.from({ length: 20 }, worker));
}
