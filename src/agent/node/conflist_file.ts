/**
 * The node's CNI configuration file, by which the kubelet learns that pods can have a network. Written whole or not at all,
 * rewritten when its content should be another or another program changed it.
 *
 * It is never removed here: pods can be added while no agent runs.
 */
import { join } from "node:path";
import { type Conflist, CONFLIST_NAME } from "../../node/conflist.ts";
import { replaceFile } from "../../node/files.ts";
import type { Log } from "../log.ts";

export class ConflistFile {
  readonly #path: string;
  readonly #dir: string;
  readonly #log: Log;

  constructor(dir: string, log: Log) {
    this.#dir = dir;
    this.#log = log;
    this.#path = join(dir, CONFLIST_NAME);
  }

  /**
   * Writes the file unless it holds `list`.
   * @throws Error when it cannot be written
   */
  ensure(list: Conflist) {
    const content = JSON.stringify(list, null, 2) + "\n";
    const before = this.#read();
    if (before === content) return;
    Deno.mkdirSync(this.#dir, { recursive: true });
    replaceFile(this.#path, content);
    const what = before === undefined ? "is written" : "is written anew";
    this.#log.info({ file: this.#path }, `the CNI configuration ${what}`);
  }

  /** Whether the file has the plugin portmap in its list. */
  hasPortmap(): boolean {
    return this.#read()?.includes('"portmap"') ?? false;
  }

  #read(): string | undefined {
    try {
      return Deno.readTextFileSync(this.#path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }
}
