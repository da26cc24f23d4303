import assert from "node:assert/strict";
import { settings } from "../config/schema.ts";
import { flagName } from "../config/setting.ts";
import { command as agentCommand } from "./agent.ts";

/** What the command prints for `args`, and how it ends. */
async function run(...args: string[]): Promise<{ text: string; code: string }> {
  let text = "";
  const write = (part: string) => void (text += part);
  const command = agentCommand().exitOverride().configureOutput({
    writeOut: write,
    writeErr: write,
  });
  try {
    await command.parseAsync(args, { from: "user" });
    return { text, code: "" };
  } catch (error) {
    return { text, code: (error as { code?: string }).code ?? String(error) };
  }
}

Deno.test("agentCommand() shows every setting as a flag and as a key, with its default", async () => {
  const { text, code } = await run("--help");
  assert.equal(code, "commander.helpDisplayed");
  for (const { key } of settings) {
    assert.match(text, new RegExp(`^  ${flagName(key)} <`, "m"));
    assert.match(text, new RegExp(`\\b${key.replace(".", "\\.")}\\b`));
  }
  const flat = text.replaceAll(/\s+/g, " ");
  assert.match(flat, /--bpffs <DIR> Pin maps .* \(default: \/sys\/fs\/bpf\/pcnk\)/);
  assert.match(
    flat,
    /--timeouts-tcp-established <TIME> Expire idle TCP connections \(default: 5d\)/,
  );
  assert.match(text, /^ {2}pcnk agent --node-name node1/m);
});

Deno.test("agentCommand() refuses a wrong value and says what would be right", async () => {
  const { text, code } = await run("--attach", "xdp");
  assert.equal(code, "commander.invalidArgument");
  assert.match(text, /'xdp' is invalid\. It must be one of auto, tcx, clsact\./);
});

Deno.test("agentCommand() wants a source of cluster objects", async () => {
  assert.match(
    (await run()).code,
    /nowhere to read cluster objects from; give --kubeconfig FILE or --manifests DIR/,
  );
});
