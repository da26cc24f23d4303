/**
 * The node's CNI configuration file, by which the kubelet learns that pods can have a network. Written whole or not at all,
 * rewritten when it should say something else or somebody changed it.
 *
 * It is never removed here: pods can be added while no agent runs.
 */
import { join } from "node:path";
import type { Conflist } from "../../node/conflist.ts";
import type { Log } from "../log.ts";

export const CONFLIST_NAME = "10-pcnk.conflist";

export class ConflistFile {
  readonly #path: string;
  #earlier = "";
  readonly #dir: string;
  readonly #log: Log;

  constructor(dir: string, log: Log) {
    this.#dir = dir;
    this.#log = log;
    this.#path = join(dir, CONFLIST_NAME);
  }

  /**
   * Has the file say `list`; does nothing when it does.
   * @throws Error when it cannot be written
   */
  ensure(list: Conflist) {
    const content = JSON.stringify(list, null, 2) + "\n";
    this.#warnOfOthers();
    const before = this.#read();
    if (before === content) return;
    Deno.mkdirSync(this.#dir, { recursive: true });
    replaceFile(this.#path, content);
    const what = before === undefined ? "is written" : "is written anew";
    this.#log.info({ file: this.#path }, `the CNI configuration ${what}`);
  }

  #read(): string | undefined {
    try {
      return Deno.readTextFileSync(this.#path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  /** The runtime takes the first file by name. Told once for each set of them. */
  #warnOfOthers() {
    const earlier = earlierFiles(this.#dir).join(", ");
    if (earlier !== "" && earlier !== this.#earlier) {
      const text = `${earlier} in ${this.#dir} sorts before ${CONFLIST_NAME}: the runtime takes ` +
        "that network, and pods do not get pcnk; remove it, or what writes it";
      this.#log.warn({ event: "OtherNetwork", file: earlier }, text);
    }
    this.#earlier = earlier;
  }
}

/** Configurations that a runtime would take before pcnk's (libcni's ConfFiles(): these endings, in order of name). */
export function earlierFiles(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)]
      .filter(({ name, isDirectory }) => !isDirectory && /\.(conf|conflist|json)$/.test(name))
      .map(({ name }) => name)
      .filter((name) => name < CONFLIST_NAME)
      .sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** For root only; after a power cut there is the old content or the new one. */
function replaceFile(path: string, content: string) {
  // No ending that a runtime reads.
  const fresh = `${path}.${Deno.pid}`;
  try {
    using file = Deno.openSync(fresh, { write: true, create: true, truncate: true, mode: 0o600 });
    file.writeSync(new TextEncoder().encode(content));
    file.syncSync();
    Deno.renameSync(fresh, path);
  } catch (error) {
    try {
      Deno.removeSync(fresh);
    } catch {
      // It was not even made.
    }
    throw error;
  }
  using dir = Deno.openSync(join(path, ".."));
  dir.syncSync();
}
