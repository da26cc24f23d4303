/** A lab with `pcnk ui` on its first node, and a browser beside it. */
import assert from "node:assert/strict";
import { PLUGIN_FOLDERS } from "../../../src/node/conflist.ts";
import { downLab } from "../../../src/lab/down.ts";
import type { LabHandle } from "../../../src/lab/lab.ts";
import { isThere } from "../../../src/node/files.ts";
import { upLab } from "../../../src/lab/up.ts";
import { file, root } from "../../support/needs.ts";
import { pcnk } from "../../support/pcnk.ts";
import { CHROME, type Chrome, openChrome } from "./chrome.ts";

const plugins = PLUGIN_FOLDERS.map((folder) => `${folder}/bridge`).find(isThere);

/** Options of a test that needs all that. */
export const needs = {
  ignore: !root() || !file(plugins ?? "/opt/cni/bin/bridge") || !file(CHROME),
  sanitizeResources: false, // processes of a lab outlive the test's handles to them
  sanitizeOps: false,
};

/** `pcnk ui` on a node, with the address to open it by. */
export class UiProcess implements AsyncDisposable {
  constructor(readonly url: string, private readonly child: Deno.ChildProcess) {}

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGINT");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 10_000);
    const { code } = await this.child.status;
    clearTimeout(timer);
    assert.equal(code, 0, "pcnk ui did not end by itself");
  }
}

export async function startUi(lab: LabHandle): Promise<UiProcess> {
  const { bpffs, dir } = lab.store.plan.nodes[0]!;
  const argv = [...pcnk, "ui", "--listen", "127.0.0.1:9880", "--bpffs", bpffs, "--state-dir", dir];
  const child = lab.command("node1", argv, { stdin: "null", stdout: "piped", stderr: "inherit" })
    .spawn();
  let text = "";
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    const [, url] = /^open (\S+)/m.exec(text) ?? [];
    if (url !== undefined) return new UiProcess(url, child);
  }
  await child.status;
  throw new Error(`pcnk ui said nothing but: ${text}`);
}

/** Runs `test` in a lab of this name with one browser on its first node; all is gone afterwards. */
export async function withPage(
  name: string,
  pods: number,
  test: (lab: LabHandle, chrome: Chrome) => Promise<void>,
): Promise<void> {
  await downLab(name);
  const lab = await upLab({ name, nodes: 2, pods, command: pcnk });
  try {
    await using chrome = await openChrome((argv) =>
      lab.command("node1", argv, { stdin: "piped", stdout: "piped", stderr: "null" }).spawn()
    );
    await test(lab, chrome);
  } finally {
    await downLab(name);
  }
}
