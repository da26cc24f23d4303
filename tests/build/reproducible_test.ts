/** Two clones of a commit, in folders of other names, build the same executable. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { TempFolder } from "../support/folder.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const BUILT = `${root}/dist/pcnk`;

function run(cwd: string, command: string, ...args: string[]): string {
  const { code, stdout, stderr } = new Deno.Command(command, { args, cwd }).outputSync();
  assert.equal(code, 0, `${command} ${args[0]}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout).trim();
}

/** Why dist/pcnk is not the build of a commit. */
function whyNot(): string | undefined {
  try {
    if (run(root, "git", "status", "--porcelain", "--untracked-files=no") !== "") {
      return "the work tree has changes";
    }
    const { commit } = JSON.parse(run(root, BUILT, "version", "--json"));
    return commit === run(root, "git", "rev-parse", "HEAD") ? undefined : "dist/pcnk is older";
  } catch (error) {
    return (error as Error).message;
  }
}

const reason = whyNot();
if (reason !== undefined) console.error(`skipped: ${reason}`);

const hashOf = (path: string) => createHash("sha256").update(Deno.readFileSync(path)).digest("hex");

Deno.test({
  name: "a build of the same commit in another folder is the same, byte for byte",
  ignore: reason !== undefined,
  fn() {
    using folder = new TempFolder();
    const clone = `${folder.path}/another/pcnk`;
    run(root, "git", "clone", "--quiet", "--no-hardlinks", root, clone);
    run(root, "cp", "-r", `${root}/node_modules`, clone);
    run(clone, Deno.execPath(), "run", "-A", "src/build/build.ts");
    assert.equal(hashOf(`${clone}/dist/pcnk`), hashOf(BUILT));
  },
});
