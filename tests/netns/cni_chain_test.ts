/**
 * The plugin as a process behind the real reference plugins (bridge or ptp, host-local, meta plugins), run as container runtimes
 * run a conflist. Debian 12's plugins speak CNI up to 1.0.0; pcnk alone is asked what came with 1.1.0.
 */
import assert from "node:assert/strict";
import { type Conflist, conflist, PLUGIN_FOLDERS } from "../../src/node/conflist.ts";
import { isThere } from "../../src/node/files.ts";
import { CniError, type CniResult, type ConflistCall, runConflist } from "../../src/lab/runtime.ts";
import { deleteNetns } from "../../src/linux/netns.ts";
import * as needs from "../support/needs.ts";
import type { TestNetns } from "../support/sandbox.ts";
import { pcnk } from "../support/pcnk.ts";
import { installSelf } from "../../src/lab/executable.ts";
import { runIn } from "./cni/process.ts";
import { CniWorld } from "./cni/world.ts";

const folder = PLUGIN_FOLDERS.find((path) => isThere(`${path}/bridge`));
const available = needs.root() && needs.file(`${folder ?? PLUGIN_FOLDERS[0]}/bridge`) &&
  needs.file("dist/artifacts/lbrp.bpf.o");
const tcx = needs.kernel(6, 6);

/** A node and a runtime for its pods. */
class Runtime {
  readonly list: Conflist;
  readonly #bin: string;

  constructor(readonly world: CniWorld, change: (list: Conflist) => void = () => {}) {
    const { bpffs, stateDir, dir } = world;
    this.#bin = `${dir}/bin`;
    installSelf(this.#bin, pcnk);
    this.list = conflist({ podCIDR: "10.1.0.0/24", bpffs, stateDir, ipamDataDir: `${dir}/ipam` });
    change(this.list);
  }

  run(verb: ConflistCall["verb"], netns?: TestNetns, more: Partial<ConflistCall> = {}) {
    return runConflist({
      verb,
      conflist: this.list,
      pluginDirs: [this.#bin, folder!],
      containerID: netns?.name,
      netns: netns?.path,
      ifname: "eth0",
      args: { IgnoreUnknown: "1", K8S_POD_NAMESPACE: "default", K8S_POD_NAME: "web" },
      exec: ({ path, env, stdin }) => runIn(this.world.node.path, [path], env, stdin),
      ...more,
    });
  }

  /** pcnk alone, in the newest version. */
  alone(verb: ConflistCall["verb"], more: Partial<ConflistCall> = {}) {
    const plugins = this.list.plugins.filter(({ type }) => type === "pcnk");
    return this.run(verb, undefined, {
      conflist: { ...this.list, cniVersion: "1.1.0", plugins },
      ...more,
    });
  }

  async add(netns: TestNetns): Promise<CniResult> {
    return (await this.run("ADD", netns))!;
  }
}

function test(
  name: string,
  fn: (runtime: Runtime) => Promise<void>,
  options: { attach?: "tcx" | "clsact"; change?: (list: Conflist) => void } = {},
): void {
  Deno.test({
    name,
    ignore: !available || (options.attach === "tcx" && !tcx),
    async fn() {
      using world = new CniWorld(options);
      await fn(new Runtime(world, options.change));
    },
  });
}

const addressOf = ({ ips }: CniResult) => ips![0]!.address.replace("/24", "");

for (const attach of ["tcx", "clsact"] as const) {
  for (const cniVersion of ["0.3.0", "0.3.1", "0.4.0", "1.0.0"]) {
    const change = (list: Conflist) => list.cniVersion = cniVersion;
    test(
      `bridge, host-local and pcnk add, check and delete a pod (${cniVersion}, ${attach})`,
      async (runtime) => {
        const { world } = runtime;
        const netns = world.sandbox.netns();
        const result = await runtime.add(netns);
        assert.equal(result.cniVersion, cniVersion);
        const [, host] = result.interfaces!;
        assert.deepEqual(world.snapshot(), {
          endpoints: [{
            addr: addressOf(result),
            ifindex: world.node.nl.link(host!.name)!.index,
            mac: netns.nl.link("eth0")!.mac,
            gateway: "10.1.0.1",
          }],
          devices: [
            `${world.node.nl.link(host!.name)!.index} ${netns.nl.link("eth0")!.mac}`,
          ],
          ports: [
            `${host!.name}: isolated, no learning, no flooding, ${netns.nl.link("eth0")!.mac}`,
          ],
          programs: [
            `${host!.name} ingress ${attach} lbrp_from_pod`,
            `pcnk0 egress ${attach} lbrp_to_pod`,
          ].sort(),
          links: world.snapshot().links,
          attachments: [`${netns.name}@eth0.json`],
        });
        await runtime.run("CHECK", netns, { prevResult: result });
        await runtime.run("DEL", netns, { prevResult: result });
        await runtime.run("DEL", netns, { prevResult: result });
        assert.equal(netns.nl.link("eth0"), undefined);
        assert.deepEqual(world.snapshot(), {
          endpoints: [],
          devices: [],
          ports: [],
          programs: [`pcnk0 egress ${attach} lbrp_to_pod`],
          links: attach === "tcx" ? [`${world.bridge}-egress`] : [],
          attachments: [],
        });
      },
      { attach, change },
    );
  }

  test(`behind ptp both programs are on the pod's veth (${attach})`, async (runtime) => {
    const { world } = runtime;
    const netns = world.sandbox.netns();
    const result = await runtime.add(netns);
    const host = result.interfaces!.find(({ sandbox }) => !sandbox)!.name;
    assert.deepEqual(world.snapshot().programs, [
      `${host} egress ${attach} lbrp_to_pod`,
      `${host} ingress ${attach} lbrp_from_pod`,
    ]);
    await runtime.run("CHECK", netns, { prevResult: result });
    await runtime.run("DEL", netns, { prevResult: result });
    const { endpoints, programs, links, attachments } = world.snapshot();
    assert.deepEqual([endpoints, programs, links, attachments], [[], [], [], []]);
  }, {
    attach,
    change: (list) => {
      const { ipam } = list.plugins[0]!;
      list.plugins[0] = { type: "ptp", ipam };
    },
  });
}

test("the chain deletes a pod whose namespace is gone", async (runtime) => {
  const { world } = runtime;
  for (const known of [true, false]) {
    const netns = world.sandbox.netns();
    const result = await runtime.add(netns);
    deleteNetns(netns.name);
    netns.nl.close(); // the last one that held it
    await runtime.run("DEL", netns, { netns: "", ...(known ? { prevResult: result } : {}) });
    assert.deepEqual(world.snapshot().endpoints, []);
    assert.deepEqual(world.snapshot().attachments, []);
  }
});

test("a failed ADD of pcnk leaves the pod to the runtime's DEL, with the plugin's words", async (runtime) => {
  const { world } = runtime;
  const netns = world.sandbox.netns();
  const conflist = structuredClone(runtime.list);
  conflist.plugins.at(-1)!.bpffs = `${world.dir}/nowhere`;
  const failed = (error: CniError) => error.plugin === "pcnk" && error.code === 11;
  await assert.rejects(runtime.run("ADD", netns, { conflist }), failed);
  assert.deepEqual(world.snapshot().attachments, []);
  await runtime.run("DEL", netns, { conflist });
  const result = await runtime.add(netns);
  await runtime.run("DEL", netns, { prevResult: result });
});

test("20 pods at once are added and deleted", async (runtime) => {
  const { world } = runtime;
  const pods = Array.from({ length: 20 }, () => world.sandbox.netns());
  // One first: it makes the bridge. Two that make it at once may tell a MAC address that it has not kept, and then the bridge
  // plugin's own CHECK fails.
  const results = [await runtime.add(pods[0]!)];
  results.push(...await Promise.all(pods.slice(1).map((netns) => runtime.add(netns))));
  const addresses = results.map(addressOf).sort();
  assert.equal(new Set(addresses).size, 20);
  const { endpoints, programs, attachments } = world.snapshot();
  assert.deepEqual(endpoints.map(({ addr }) => addr).sort(), addresses);
  assert.deepEqual([programs.length, attachments.length], [21, 20]);
  await Promise.all(
    pods.map((netns, i) => runtime.run("CHECK", netns, { prevResult: results[i] })),
  );
  // Half of them go while as many come.
  const more = Array.from({ length: 10 }, () => world.sandbox.netns());
  const changes = await Promise.all([
    ...pods.slice(10).map((netns, i) => runtime.run("DEL", netns, { prevResult: results[10 + i] })),
    ...more.map((netns) => runtime.add(netns)),
  ]);
  const left = [...pods.slice(0, 10), ...more];
  const leftResults = [...results.slice(0, 10), ...changes.slice(10) as CniResult[]];
  await Promise.all(
    left.map((netns, i) => runtime.run("CHECK", netns, { prevResult: leftResults[i] })),
  );
  assert.equal(world.snapshot().endpoints.length, 20);
  await Promise.all(
    left.map((netns, i) => runtime.run("DEL", netns, { prevResult: leftResults[i] })),
  );
  const after = world.snapshot();
  assert.deepEqual([after.endpoints, after.attachments, after.programs.length], [[], [], 1]);
});

test("GC reaps the pods of a chain that are no more, STATUS and VERSION answer", async (runtime) => {
  const { world } = runtime;
  const [kept, lost] = [world.sandbox.netns(), world.sandbox.netns()];
  const result = await runtime.add(kept);
  await runtime.add(lost);
  deleteNetns(lost.name);
  lost.nl.close();
  await runtime.alone("STATUS");
  await runtime.alone("GC", { validAttachments: [{ containerID: kept.name, ifname: "eth0" }] });
  assert.deepEqual(world.snapshot().attachments, [`${kept.name}@eth0.json`]);
  assert.deepEqual(world.snapshot().endpoints.map(({ addr }) => addr), [addressOf(result)]);
  await runtime.run("CHECK", kept, { prevResult: result });
  await runtime.alone("GC", { validAttachments: [] });
  assert.deepEqual(world.snapshot().endpoints, []);
});

test("what a runtime tells by its arguments and capabilities arrives", async (runtime) => {
  const { world } = runtime;
  const netns = world.sandbox.netns();
  const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
  const log: string[] = [];
  const more = {
    capabilityArgs: { portMappings },
    onStderr: (type: string, text: string) => void log.push(`${type} ${text}`),
  };
  const result = (await runtime.run("ADD", netns, more))!;
  assert.equal(log.length, 1, log.join());
  const { msg, pod, containerID } = JSON.parse(log[0]!.replace(/^pcnk /, ""));
  assert.deepEqual([msg, pod, containerID], ["pod added", "default/web", netns.name]);
  await runtime.run("DEL", netns, { ...more, prevResult: result });
});

const META = [
  { type: "portmap", capabilities: { portMappings: true }, snat: true },
  { type: "tuning", sysctl: { "net.core.somaxconn": "500" } },
  { type: "firewall" },
  { type: "sbr" },
  { type: "bandwidth", ingressRate: 8e6, ingressBurst: 8e6 },
];

for (const plugin of META) {
  for (const order of ["before", "after"] as const) {
    const at = order === "before" ? 1 : 2;
    test(
      `a chain with ${plugin.type} ${order} pcnk adds, checks and deletes a pod`,
      async (runtime) => {
        const { world } = runtime;
        const netns = world.sandbox.netns();
        const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
        const more = { capabilityArgs: { portMappings } };
        const result = (await runtime.run("ADD", netns, more))!;
        // Alone: bridge's CHECK does not know routes that sbr has moved, nor portmap's a pod without IPv6.
        const plugins = runtime.list.plugins.filter(({ type }) => type === "pcnk");
        const conflist = { ...runtime.list, plugins };
        await runtime.run("CHECK", netns, { ...more, conflist, prevResult: result });
        // One of both, that which has the capability.
        assert.equal(world.plane.maps.host_ports.keys().length, plugin.type === "portmap" ? 0 : 1);
        await runtime.run("DEL", netns, { ...more, prevResult: result });
        assert.deepEqual(world.snapshot().endpoints, []);
        assert.deepEqual(world.plane.maps.host_ports.keys(), []);
      },
      {
        change: (list) => {
          if (plugin.type === "portmap") delete list.plugins[1]!.capabilities;
          list.plugins.splice(at, 0, plugin);
        },
      },
    );
  }
}
