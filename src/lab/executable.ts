/** How to start pcnk once more: as agent, as plugin, as server in a pod. */
import { fileURLToPath } from "node:url";

/**
 * The words that start this same pcnk: the executable, or Deno with main.ts when run from source. Arguments are added
 * behind.
 */
export function selfCommand(): string[] {
  if (Deno.build.standalone) return [Deno.execPath()];
  const main = fileURLToPath(new URL("../../main.ts", import.meta.url));
  return [Deno.execPath(), "run", "--allow-all", "--quiet", main];
}

/** How a person at this working directory calls pcnk: by name when it is in PATH, else by its path. */
export function spokenCommand(executable = Deno.execPath(), folder = Deno.cwd()): string {
  if (!Deno.build.standalone && executable === Deno.execPath()) return "pcnk";
  const path = Deno.env.get("PATH") ?? "";
  if (path.split(":").some((each) => `${each}/pcnk` === executable)) return "pcnk";
  return executable.startsWith(folder + "/") ? executable.slice(folder.length + 1) : executable;
}

/**
 * Puts pcnk into `folder` under its own name, for CNI_PATH: a link to the executable, or a script that runs the source.
 */
export function installSelf(folder: string, command: string[]): void {
  Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = `${folder}/pcnk`;
  const [executable, ...rest] = command;
  if (executable !== undefined && rest.length === 0) return Deno.symlinkSync(executable, path);
  const words = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  Deno.writeTextFileSync(path, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o700 });
}
