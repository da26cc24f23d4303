/** Tests on a lab of their own, and `pcnk` on its first node. */
import { downLab } from "../../../src/lab/down.ts";
import type { LabHandle } from "../../../src/lab/lab.ts";
import { isThere } from "../../../src/node/files.ts";
import { upLab, type UpOptions } from "../../../src/lab/up.ts";
import { PLUGIN_FOLDERS } from "../../../src/node/conflist.ts";
import { file, root } from "../../support/needs.ts";
import { pcnk } from "../../support/pcnk.ts";

const plugins = PLUGIN_FOLDERS.map((folder) => `${folder}/bridge`).find(isThere);

/** Of tests on labs; whose processes outlive the test's handles to them. */
export const LAB_TEST = {
  ignore: !root() || !file(plugins ?? "/opt/cni/bin/bridge"),
  sanitizeResources: false,
  sanitizeOps: false,
};

/** Runs `work` on a lab that is gone afterwards, whatever happens. */
export async function withLab(
  up: UpOptions & { name: string },
  work: (lab: LabHandle) => Promise<void>,
): Promise<void> {
  await downLab(up.name);
  const lab = await upLab({ ...up, command: pcnk });
  try {
    await work(lab);
  } finally {
    await downLab(up.name);
  }
}

/** A test on a lab, with clsact, which every kernel has. */
export function labTest(
  name: string,
  up: UpOptions & { name: string },
  work: (lab: LabHandle) => Promise<void>,
): void {
  Deno.test(name, LAB_TEST, () => withLab({ attach: "clsact", ...up }, work));
}

/** Runs `pcnk WORDS` on the lab's first node, on its data plane. */
export function pcnkOn(lab: LabHandle, ...words: string[]) {
  const { bpffs, dir } = lab.node("node1");
  const argv = [...pcnk, ...words, "--bpffs", bpffs, "--state-dir", dir];
  return lab.output("node1", argv);
}
