import assert from "node:assert/strict";
import { deviceFiles, UNIT, unitText } from "./texts.ts";
import { TempFolder } from "../tests/support/folder.ts";

const analyze = "/usr/bin/systemd-analyze";

Deno.test("unitText() tries for ever, ends with the agent alone, and has no mount namespace", () => {
  const lines = unitText("/opt/cni/bin/pcnk").split("\n");
  for (const line of ["StartLimitIntervalSec=0", "Restart=always", "WantedBy=multi-user.target"]) {
    assert.ok(lines.includes(line), line);
  }
  assert.ok(lines.includes("ExecStart=/opt/cni/bin/pcnk agent --config /etc/pcnk/config.yaml"));
  // Each of them would hide the bpffs that the agent mounts from the machine.
  assert.doesNotMatch(lines.join("\n"), /^(Private|Protect|ReadOnly|Inaccessible|Temporary|Bind)/m);
  // Nothing that is done at the agent's end: it ends with each upgrade.
  assert.doesNotMatch(lines.join("\n"), /^ExecStop/m);
});

Deno.test({
  name: "systemd finds nothing to complain of in the unit",
  ignore: !existsFile(analyze),
  fn() {
    using temporary = new TempFolder();
    const folder = temporary.path;
    const verify = (text: string) => {
      Deno.writeTextFileSync(`${folder}/${UNIT}`, text);
      const { code, stderr } = new Deno.Command(analyze, {
        args: ["verify", "--man=no", `${folder}/${UNIT}`],
        env: { LC_ALL: "C" },
      }).outputSync();
      // It tells of other units of the machine as well.
      const said = new TextDecoder().decode(stderr).split("\n").filter((line) =>
        line.includes(UNIT)
      );
      return { code, said: said.join("\n") };
    };
    const text = unitText("/bin/true");
    assert.deepEqual(verify(text), { code: 0, said: "" });
    assert.match(verify(text.replace("Restart=", "Restrat=")).said, /Unknown key.* 'Restrat'/);
  },
});

function existsFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    console.error(`skipped: needs ${path}`);
    return false;
  }
}

Deno.test("deviceFiles() names the devices as settings do", () => {
  const texts = deviceFiles(new Map([["bridge", "br7"], ["overlay.device", "vx7"]]));
  assert.match(texts[0]!.text, /^Name=br7 vx7$/m);
  assert.match(texts[1]!.text, /interface-name:br7;interface-name:vx7$/m);
});
