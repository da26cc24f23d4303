import assert from "node:assert/strict";
import { installSelf, selfCommand, spokenCommand } from "./executable.ts";
import { TempFolder } from "../../tests/support/folder.ts";

Deno.test("selfCommand() runs main.ts when pcnk is not compiled", async () => {
  const [program, ...args] = selfCommand();
  const options: Deno.CommandOptions = { args: [...args, "--help"], stderr: "null" };
  const { code, stdout } = await new Deno.Command(program!, options).output();
  assert.equal(code, 0);
  assert.match(new TextDecoder().decode(stdout), /^Usage: pcnk/);
});

Deno.test("installSelf() makes a pcnk that passes arguments on as they are", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  installSelf(folder, ["printf", "<%s>", "it's"]);
  const { stdout } = await new Deno.Command(`${folder}/pcnk`, { args: ["a b", "$HOME"] })
    .output();
  assert.equal(new TextDecoder().decode(stdout), "<it's><a b><$HOME>");
});

Deno.test("installSelf() links to an executable", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  installSelf(folder, ["/x/dist/pcnk"]);
  assert.equal(await Deno.readLink(`${folder}/pcnk`), "/x/dist/pcnk");
});

Deno.test("spokenCommand() is what a person would type", () => {
  const [first = ""] = (Deno.env.get("PATH") ?? "").split(":");
  assert.equal(spokenCommand(`${first}/pcnk`, "/home"), "pcnk");
  assert.equal(spokenCommand("/src/pcnk/dist/pcnk", "/src/pcnk"), "dist/pcnk");
  assert.equal(spokenCommand("/src/pcnk/dist/pcnk", "/home"), "/src/pcnk/dist/pcnk");
});
