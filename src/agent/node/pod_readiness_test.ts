import assert from "node:assert/strict";
import { join } from "node:path";
import "../../../tests/support/libraries.ts";
import type { Node } from "../../model/objects.ts";
import { PodReadiness } from "./pod_readiness.ts";
import { CONFLIST_NAME, earlierFiles } from "../../node/conflist.ts";
import { createLog, type Log } from "../log.ts";

/** A node whose clock is moved by hand. */
class Place implements Disposable {
  readonly dir = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
  readonly confDir = join(this.dir, "net.d");
  readonly events: string[] = [];
  conditions = 0;
  /** Why no pod can start, and what the condition was set to. */
  refusal: string | undefined;
  refused: string | undefined;
  mtu: number | undefined = 1450;
  #time = 0;
  #timers: { at: number; run: () => void }[] = [];
  readonly node: PodReadiness;

  constructor(
    options: { plugins?: ConstructorParameters<typeof PodReadiness>[0]["plugins"] } = {},
  ) {
    const log: Log = createLog(
      "error",
      "node1",
      ({ reason, message }) => this.events.push(`${reason}: ${message}`),
    );
    const note = (fields: { event?: string }) =>
      fields.event === undefined ? undefined : this.events.push(fields.event);
    const quiet = Object.assign(Object.create(log), { info: note, warn: note, error: note });
    this.node = new PodReadiness({
      config: {
        nodeName: "node1",
        cniConfDir: this.confDir,
        bpffs: "/bpf",
        stateDir: this.dir,
        bridge: "pcnk0",
      },
      log: quiet,
      mtu: () => this.mtu,
      ...options,
      condition: {
        set: (refusal) => {
          this.conditions++;
          this.refused = refusal;
        },
      },
      refusal: () => this.refusal,
      clock: {
        now: () => this.#time,
        setTimeout: (run, ms) => {
          const timer = { at: this.#time + ms, run };
          this.#timers.push(timer);
          return timer;
        },
        clearTimeout: (timer) => this.#timers = this.#timers.filter((one) => one !== timer),
      },
    });
  }

  upsert(rest: Partial<Node>, name = "node1") {
    const object: Node = { kind: "Node", name, internalIPs: [], podCIDRs: [], ...rest };
    this.node.changes([{ type: "upsert", object }]);
  }

  pass(ms: number) {
    const end = this.#time + ms;
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((one) => one !== due);
      this.#time = Math.max(this.#time, due.at);
      due.run();
    }
    this.#time = end;
  }

  list() {
    return JSON.parse(Deno.readTextFileSync(join(this.confDir, CONFLIST_NAME)));
  }

  read() {
    const { plugins: [bridge] } = this.list();
    const data = bridge.ipam.dataDir.slice(this.dir.length);
    return { subnet: bridge.ipam.ranges[0][0].subnet, mtu: bridge.mtu, data };
  }

  [Symbol.dispose]() {
    this.node.stop();
    Deno.removeSync(this.dir, { recursive: true });
  }
}

const first = { subnet: "10.244.1.0/24", mtu: 1450, data: "/ipam" };

Deno.test("PodReadiness writes the configuration when it has started and knows its podCIDR", () => {
  using place = new Place();
  place.upsert({ podCIDRs: ["10.244.1.0/24"] });
  place.upsert({ podCIDRs: ["10.244.2.0/24"] }, "node2");
  assert.throws(() => place.read(), Deno.errors.NotFound);
  assert.equal(place.conditions, 0);
  place.node.start();
  assert.deepEqual(place.read(), first);
  assert.equal(Deno.statSync(join(place.confDir, CONFLIST_NAME)).mode! & 0o777, 0o600);
  assert.deepEqual([...Deno.readDirSync(place.confDir)].map(({ name }) => name), [CONFLIST_NAME]);
  assert.deepEqual([place.conditions, place.node.failure], [1, undefined]);
});

Deno.test("PodReadiness waits for a podCIDR, and says so once", () => {
  using place = new Place();
  place.node.start();
  place.upsert({});
  place.pass(100_000);
  assert.deepEqual(place.events, ["NoPodCIDR"]);
  assert.match(place.node.failure!, /no IPv4 podCIDR/);
  place.upsert({ podCIDRs: ["10.244.1.0/24"] });
  place.pass(100);
  assert.deepEqual(place.read(), first);
  assert.deepEqual([place.conditions, place.node.failure], [1, undefined]);
});

Deno.test("PodReadiness tells a Node that is not there from one without a podCIDR", () => {
  using place = new Place();
  place.upsert({ podCIDRs: ["10.244.2.0/24"] }, "node2");
  place.node.start();
  place.pass(100);
  assert.match(place.node.failure!, /^there is no Node node1 yet$/);
  assert.deepEqual(place.events, []); // there is no Node for an Event
  place.upsert({});
  place.pass(100);
  assert.match(place.node.failure!, /no IPv4 podCIDR/);
  assert.deepEqual(place.events, ["NoPodCIDR"]);
});

Deno.test("PodReadiness follows podCIDR and MTU, and repairs the file when another program changed it", () => {
  using place = new Place();
  place.upsert({ podCIDRs: ["10.244.1.0/24"] });
  place.node.start();
  place.pass(100);
  place.upsert({ podCIDRs: ["10.244.9.0/24"] });
  assert.equal(place.read().subnet, "10.244.9.0/24");
  place.pass(100);
  place.mtu = 8950;
  place.node.look();
  assert.equal(place.read().mtu, 8950);
  Deno.removeSync(join(place.confDir, CONFLIST_NAME));
  place.pass(30_000);
  assert.deepEqual(place.read(), { ...first, subnet: "10.244.9.0/24", mtu: 8950 });
  // A Node that is made anew is without a podCIDR for a moment: the file stays.
  place.upsert({});
  place.pass(100);
  assert.equal(place.read().subnet, "10.244.9.0/24");
});

Deno.test("PodReadiness sets NetworkUnavailable to False again when a controller sets it to True", () => {
  using place = new Place();
  place.upsert({ podCIDRs: ["10.244.1.0/24"] });
  place.node.start();
  place.pass(100);
  place.upsert({ podCIDRs: ["10.244.1.0/24"], zone: "a" });
  place.pass(100);
  assert.equal(place.conditions, 1);
  place.upsert({ podCIDRs: ["10.244.1.0/24"], networkUnavailable: true });
  place.pass(100);
  assert.equal(place.conditions, 2);
});

Deno.test("PodReadiness sets NetworkUnavailable to True while no pod can start", () => {
  using place = new Place();
  place.upsert({ podCIDRs: ["10.244.1.0/24"] });
  place.node.start();
  place.refusal = "the plugins are gone";
  place.pass(100);
  place.node.look();
  assert.deepEqual([place.conditions, place.refused], [2, "the plugins are gone"]);
  place.upsert({ podCIDRs: ["10.244.1.0/24"], networkUnavailable: true });
  place.pass(100);
  assert.equal(place.conditions, 2);
  place.refusal = undefined;
  place.node.look();
  assert.deepEqual([place.conditions, place.refused], [3, undefined]);
});

Deno.test("PodReadiness writes its file also while another network's sorts before", () => {
  using place = new Place();
  Deno.mkdirSync(place.confDir);
  for (const name of ["05-cilium.conflist", "10-flannel.conf", "05-x.conflist.bak", "99-l.json"]) {
    Deno.writeTextFileSync(join(place.confDir, name), "{}");
  }
  assert.deepEqual(earlierFiles(place.confDir), ["05-cilium.conflist", "10-flannel.conf"]);
  place.upsert({ podCIDRs: ["10.244.1.0/24"] });
  place.node.start();
  place.pass(100_000);
  assert.deepEqual(place.read(), first);
});

Deno.test("PodReadiness goes on trying when the file cannot be written", () => {
  using place = new Place();
  Deno.writeTextFileSync(place.confDir, "no directory");
  place.upsert({ podCIDRs: ["10.244.1.0/24"] });
  place.node.start();
  place.pass(5000);
  assert.deepEqual(place.events, ["ConflistFailed"]);
  assert.match(place.node.failure!, /cannot be written/);
  assert.equal(place.conditions, 0);
  Deno.removeSync(place.confDir);
  place.pass(10_000);
  assert.deepEqual([place.read(), place.node.failure], [first, undefined]);
});

Deno.test("PodReadiness writes the version that all plugins support, and another one when they are replaced", async () => {
  let supported = "0.4.0";
  const plugins = { stamp: () => supported, common: () => Promise.resolve(supported) };
  using place = new Place({ plugins });
  place.upsert({ podCIDRs: ["10.244.1.0/24"] });
  await place.node.start();
  place.pass(100);
  assert.equal(place.list().cniVersion, "0.4.0");
  supported = "1.0.0";
  place.pass(30_000);
  await Promise.resolve();
  await Promise.resolve();
  place.pass(100);
  assert.equal(place.list().cniVersion, "1.0.0");
});

Deno.test("PodReadiness keeps portmap in the list while a pod of a former release has it", () => {
  using place = new Place();
  const record = `${place.dir}/attachments/c1@eth0.json`;
  const attachment = {
    ...{ containerID: "c1", ifname: "eth0", network: "pcnk", netns: "/x", hostIfindex: 7 },
    ...{ hostIfname: "veth7", mac: "02:00:00:00:00:07", addresses: [] },
  };
  Deno.mkdirSync(`${place.dir}/attachments`);
  Deno.writeTextFileSync(record, JSON.stringify(attachment));
  const types = () => place.list().plugins.map(({ type }: { type: string }) => type);
  place.upsert({ podCIDRs: ["10.244.1.0/24"] });
  place.node.start();
  place.pass(100);
  assert.deepEqual(types(), ["bridge", "pcnk"]); // it had none
  const path = join(place.confDir, CONFLIST_NAME);
  Deno.writeTextFileSync(path, JSON.stringify({ plugins: [{ type: "portmap" }] }));
  place.pass(30_000);
  assert.deepEqual(types(), ["bridge", "portmap", "pcnk"]);
  Deno.writeTextFileSync(record, JSON.stringify({ ...attachment, portMappings: [] }));
  place.pass(30_000);
  assert.deepEqual(types(), ["bridge", "pcnk"]);
});
