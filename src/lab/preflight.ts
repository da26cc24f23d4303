/** What a lab needs of the machine, asked before anything is made. */
import { existsSync } from "node:fs";
import { PLUGIN_FOLDERS, REFERENCE_PLUGINS } from "../node/conflist.ts";
import { namespacesOf } from "./leftovers.ts";
import { LabExistsError, nameOption } from "./state.ts";

/** @throws Error when this is not root. */
export function requireRoot(uid: number | null = Deno.uid()): void {
  if (uid !== 0) throw new Error("pcnk lab makes network namespaces and needs root (sudo)");
}

/**
 * The folder that holds all reference plugins.
 *
 * @throws Error naming what is missing and the package that has it.
 */
export function findPlugins(folders = PLUGIN_FOLDERS, exists = existsSync): string {
  const missingIn = (folder: string) =>
    REFERENCE_PLUGINS.filter((name) => !exists(`${folder}/${name}`));
  const found = folders.find((folder) => missingIn(folder).length === 0);
  if (found !== undefined) return found;
  throw new Error(
    `the CNI plugins ${REFERENCE_PLUGINS.join(", ")} are not in any of ${folders.join(", ")}; ` +
      "on Debian and Ubuntu: apt install containernetworking-plugins",
  );
}

/** @throws Error naming the program and the package that has it. */
export function findPrograms(path = Deno.env.get("PATH") ?? "", exists = existsSync): void {
  const wanted = [["nsenter", "util-linux"]] as const;
  for (const [program, debianPackage] of wanted) {
    // Daemons and sudo often have no sbin in their PATH; child processes find what PATH has, so ask for just that.
    if (path.split(":").some((folder) => exists(`${folder}/${program}`))) continue;
    throw new Error(
      `${program} is not in PATH; on Debian and Ubuntu: apt install ${debianPackage}`,
    );
  }
}

/** @throws LabExistsError when namespaces of a lab of that name are there without its state. */
export function refuseLeftovers(name: string): void {
  const [first] = namespacesOf(name);
  if (first === undefined) return;
  throw new LabExistsError(
    `lab ${name} is up, or left over from a crash (network namespace ${first} is there); ` +
      `remove it: pcnk lab down${nameOption(name)}`,
  );
}
