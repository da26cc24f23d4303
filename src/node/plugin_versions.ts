/**
 * The CNI version of a list: the newest that each of its plugins supports, as they answer to VERSION (CNI SPEC 1.1, section 4).
 * Plugins are asked again when their files change.
 */
import { statSync } from "node:fs";
import { type Conflist, NEWEST_VERSION, PLUGIN_FOLDERS } from "./conflist.ts";
import { parseObject } from "./files.ts";

/** Newest first. */
const VERSIONS = [NEWEST_VERSION, "0.4.0", "0.3.1", "0.3.0"];

/** A plugin that does not answer within this time is not waited for. */
const timeoutMs = 5000;

export class PluginVersions {
  /** What each plugin answered, by its path, size and time. */
  readonly #answers = new Map<string, Promise<readonly string[] | undefined>>();

  /** @param folders where the runtime looks for plugins, in this order */
  constructor(readonly folders: readonly string[] = PLUGIN_FOLDERS) {}

  /** What identifies the plugins' files; another text: ask again. */
  stamp(list: Conflist): string {
    return executables(list).map((name) => this.#find(name) ?? `${name} is missing`).join("\n");
  }

  /** The newest common version. Plugins that are missing, or give no answer, do not count. */
  async common(list: Conflist): Promise<string> {
    const found = executables(list).map((name) => this.#find(name)).filter((one) =>
      one !== undefined
    );
    for (const key of this.#answers.keys()) if (!found.includes(key)) this.#answers.delete(key);
    const answers = await Promise.all(found.map((key) => {
      const answer = this.#answers.get(key) ?? askVersion(key.split("\0", 1)[0]!);
      this.#answers.set(key, answer);
      return answer;
    }));
    return VERSIONS.find((version) => answers.every((one) => one?.includes(version) ?? true)) ??
      NEWEST_VERSION;
  }

  /** Path, size and time of a plugin's file. */
  #find(name: string): string | undefined {
    for (const folder of this.folders) {
      const path = `${folder}/${name}`;
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat?.isFile()) return [path, stat.size, stat.mtimeMs, stat.ino].join("\0");
    }
    return undefined;
  }
}

/** The executables of a list: its plugins, and those for addresses. pcnk supports every version. */
function executables({ plugins }: Conflist): string[] {
  const ipam = plugins.map((plugin) => (plugin.ipam as { type?: string } | undefined)?.type);
  return [...plugins.map(({ type }) => type), ...ipam]
    .filter((name) => name !== undefined).filter((name) => name !== "pcnk");
}

/** The versions that a plugin supports; undefined when it does not say. */
async function askVersion(path: string): Promise<readonly string[] | undefined> {
  try {
    const { stdout } = await new Deno.Command(path, {
      env: { CNI_COMMAND: "VERSION" },
      stdin: "null",
      stderr: "null",
      signal: AbortSignal.timeout(timeoutMs),
    }).output();
    const supported = parseObject(new TextDecoder().decode(stdout))?.["supportedVersions"];
    return Array.isArray(supported) ? supported : undefined;
  } catch {
    return undefined;
  }
}
