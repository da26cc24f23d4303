/** What a container runtime waits for when it starts pcnk, against the least that a compiled Deno program takes. */
import { buildHello } from "./hello.ts";
import { timeProcess } from "./load.ts";
import { interleave, type Measure } from "./measure.ts";
import { Stage } from "./stage.ts";
import { pcnk } from "./subject.ts";

/** VERSION, whole process. */
export const start: Measure = {
  name: "start",
  about: "CNI VERSION, whole process, against a bare hello world",
  async run(context) {
    const hello = buildHello();
    const values = await Stage.with(context.signal, async ({ dir, signal }) => {
      const call = { env: { CNI_COMMAND: "VERSION" }, stdin: '{"cniVersion":"1.0.0"}' };
      const contenders = {
        pcnk: async () => (await timeProcess([pcnk()], { dir, signal, ...call })).ms,
        hello: async () => (await timeProcess([hello], { dir, signal })).ms,
      };
      for (const warmUp of Object.values(contenders)) await warmUp(); // into the page cache
      return await interleave({ ...context, runs: context.runs * 2 }, contenders);
    });
    return { values };
  },
};
