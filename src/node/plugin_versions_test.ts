import assert from "node:assert/strict";
import { conflist } from "./conflist.ts";
import { PluginVersions } from "./plugin_versions.ts";

const list = conflist({ podCIDR: "10.244.1.0/24" });

/** A folder with plugins that print this. */
async function withPlugins(
  plugins: Record<string, string>,
  fn: (versions: PluginVersions, write: (name: string, says: string) => void) => Promise<void>,
) {
  const folder = Deno.makeTempDirSync();
  const write = (name: string, says: string) => {
    const script = `#!/bin/sh\n[ "$CNI_COMMAND" = VERSION ] && printf '%s' '${says}'\n`;
    Deno.writeTextFileSync(`${folder}/new`, script, { mode: 0o755 });
    Deno.renameSync(`${folder}/new`, `${folder}/${name}`);
  };
  try {
    for (const [name, says] of Object.entries(plugins)) write(name, says);
    await fn(new PluginVersions([`${folder}/none`, folder]), write);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const supports = (...supportedVersions: string[]) =>
  JSON.stringify({ cniVersion: "0.4.0", supportedVersions });
const old = supports("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0");
const today = supports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0");

Deno.test("PluginVersions.common() is the newest that every plugin supports, IPAM's too", async () => {
  const cases: [Record<string, string>, string][] = [
    [{ bridge: today, "host-local": today }, "1.0.0"],
    [{ bridge: today, "host-local": old }, "0.4.0"],
    [{ bridge: supports("0.3.1"), "host-local": old }, "0.3.1"],
    [{}, "1.0.0"],
    [{ bridge: "no JSON", "host-local": old }, "0.4.0"],
    [{ bridge: supports("0.2.0"), "host-local": old }, "1.0.0"],
  ];
  for (const [plugins, version] of cases) {
    await withPlugins(plugins, async (versions) => {
      assert.equal(await versions.common(list), version, JSON.stringify(plugins));
    });
  }
});

Deno.test("PluginVersions asks again when a plugin is replaced", async () => {
  await withPlugins({ bridge: old, "host-local": today }, async (versions, write) => {
    assert.equal(await versions.common(list), "0.4.0");
    const before = versions.stamp(list);
    assert.equal(versions.stamp(list), before);
    write("bridge", today);
    assert.notEqual(versions.stamp(list), before);
    assert.equal(await versions.common(list), "1.0.0");
  });
});
