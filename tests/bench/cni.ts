/**
 * What pcnk adds to a pod's start: the whole chain with it and without it, in turns, and a bare hello world in the same
 * turns as the unit. The figure is a difference, so it is given as a multiple of that unit.
 */
import { conflist } from "../../src/node/conflist.ts";
import { installDataPlane } from "../../src/bpf/install.ts";
import { RtNetlink } from "../../src/linux/rtnetlink.ts";
import { writeSysctl } from "../../src/linux/sysctl.ts";
import { addChain, delChain } from "./chain.ts";
import { buildHello } from "./hello.ts";
import { timeProcess } from "./load.ts";
import { type Context, interleave, type Measure } from "./measure.ts";
import { Stage } from "./stage.ts";

/** A node with a data plane; gives the time of an ADD with and without pcnk, each followed by a DEL. */
function prepare(stage: Stage, attach: Context["attach"]) {
  const node = stage.netns("node");
  const pod = stage.netns("pod");
  const bpffs = `${stage.dir}/bpf`, stateDir = `${stage.dir}/state`;
  const nl = stage.use(RtNetlink.open(node));
  writeSysctl("net.ipv4.ip_forward", "1", node);
  stage.use(installDataPlane({ bpffs, nl }));
  Deno.mkdirSync(stateDir, { mode: 0o700 });
  mountTmpfs(stateDir);
  Deno.writeTextFileSync(`${stateDir}/datapath.json`, JSON.stringify({ attach }));
  let number = 0;
  return async (withoutPcnk: boolean) => {
    const list = conflist({
      podCIDR: "10.244.1.0/24",
      bpffs,
      stateDir,
      ipamDataDir: `${stage.dir}/ipam`,
      withoutPcnk,
    });
    const place = { node, pod, containerId: `bench-${++number}`, dir: stage.dir };
    const { ms, each, result } = await addChain(list, { ...place, signal: stage.signal });
    await delChain(list, place, result);
    return { ms, pcnk: each.pcnk ?? 0 };
  };
}

/** ADD. */
export const cni: Measure = {
  name: "cni",
  about: "CNI ADD of the whole chain with pcnk and without",
  async run(context) {
    const hello = buildHello();
    const pcnk: number[] = [];
    const values = await Stage.with(context.signal, async (stage) => {
      const add = prepare(stage, context.attach);
      const contenders = {
        chain: async () => {
          const { ms, pcnk: own } = await add(false);
          pcnk.push(own);
          return ms;
        },
        without: async () => (await add(true)).ms,
        hello: async () => (await timeProcess([hello], { dir: stage.dir })).ms,
      };
      for (const warmUp of Object.values(contenders)) await warmUp();
      pcnk.length = 0;
      return await interleave(context, contenders);
    });
    const added = values.chain!.map((ms, i) => ms - values.without![i]!);
    return { values: { ...values, pcnk, added } };
  },
};

/** As /run is, where the state directory is by default, wherever systemd has booted: a sync costs nothing there. */
function mountTmpfs(path: string): void {
  const args = ["-t", "tmpfs", "-o", "mode=0700", "pcnk-bench", path];
  const { success, stderr } = new Deno.Command("mount", { args }).outputSync();
  if (!success) throw new Error(`mount: ${new TextDecoder().decode(stderr)}`);
}
