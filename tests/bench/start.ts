/** What a container runtime waits for when it starts pcnk, against the least that a compiled Deno program takes. */
import { buildHello } from "./hello.ts";
import { timeProcess } from "./load.ts";
import { interleave, type Measure } from "./measure.ts";
import { ratioResult } from "./result.ts";
import { Stage } from "./stage.ts";
import { pcnk } from "./subject.ts";

/** VERSION, whole process. */
export const start: Measure = {
  name: "start",
  about: "CNI VERSION, whole process, against a bare hello world",
  async run(context) {
    const hello = buildHello();
    const values = await Stage.with(context.signal, async ({ dir, signal }) => {
      const version = {
        dir,
        signal,
        env: { CNI_COMMAND: "VERSION" },
        stdin: '{"cniVersion":"1.0.0"}',
      };
      const sides = {
        pcnk: async () => (await timeProcess([pcnk()], version)).ms,
        hello: async () => (await timeProcess([hello], { dir, signal })).ms,
      };
      await sides.pcnk(); // both into the page cache
      await sides.hello();
      return await interleave({ ...context, runs: context.runs * 2 }, sides);
    });
    const head = {
      measure: "start",
      id: "start-version",
      title: "CNI VERSION, whole process ÷ bare hello world",
      bar: { op: "<=", value: 1.25 } as const,
    };
    return [ratioResult(
      head,
      { label: "pcnk", unit: "ms", values: values.pcnk },
      { label: "hello", unit: "ms", values: values.hello },
    )];
  },
};
