/**
 * Follows the configuration file of a running agent. Live settings (schema.ts) are changed in the configuration object
 * that all parts read; others wait for the next start, which is logged. A file with a mistake changes nothing.
 *
 * Kubernetes replaces a mounted ConfigMap by renaming a symlink beside the file, so the folder is watched and not the file.
 */
import { basename, dirname } from "node:path";
import { DirectoryWatch, type WatchTimes } from "../../cluster/watch.ts";
import { type AgentConfig, settings } from "../../config/schema.ts";
import type { Log } from "../log.ts";

interface ConfigWatchOptions {
  file: string;
  /** Reads it again. @throws Error with a message for the user */
  load: () => AgentConfig;
  /** What the agent runs with; changed in place. */
  config: AgentConfig;
  log: Log;
  /** Called with the live settings that have changed. */
  changed: (keys: readonly string[]) => void;
  times?: Partial<WatchTimes>;
}

/** Milliseconds until a file that could not be used is read again: it may have been half written. */
const againMs = 1000;

export class ConfigWatch {
  readonly #watch: DirectoryWatch;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #logged: string | undefined;
  #waiting = "";
  readonly #options: ConfigWatchOptions;

  constructor(options: ConfigWatchOptions) {
    this.#options = options;
    const { file, times } = options;
    const name = basename(file);
    this.#watch = new DirectoryWatch(dirname(file), {
      files: (names) => names.includes(name) && this.#read(),
      scan: () => this.#read(),
    }, { rescanMs: 60_000, quietMs: 500, removeMs: 500, ...times });
  }

  start() {
    this.#watch.start();
    this.#read();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#watch.close();
  }

  #read(last = false) {
    const { log, load, config } = this.#options;
    let loaded: AgentConfig;
    try {
      loaded = load();
    } catch (error) {
      const { message } = error as Error;
      if (message === this.#logged) return;
      if (!last) this.#timer ??= setTimeout(() => this.#read(true), againMs);
      else {
        this.#timer = undefined;
        this.#logged = message;
        log.warn({ event: "BadConfig" }, `${message}; all settings stay as they are`);
      }
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#logged !== undefined) {
      log.info({ event: "ConfigGood" }, `${this.#options.file} is in order again`);
    }
    this.#logged = undefined;
    this.#compare(config, loaded);
  }

  #compare(config: AgentConfig, loaded: AgentConfig) {
    const { log, changed } = this.#options;
    const differing = settings.filter(({ key }) => text(config, key) !== text(loaded, key));
    const now = differing.filter(({ live }) => live).map(({ key }) => key);
    const waiting = differing.filter(({ live }) => !live).map(({ key }) => key).join(", ");
    for (const key of now) assign(config, loaded, key);
    if (now.length > 0) {
      log.info(
        { event: "SettingsChanged" },
        `${now.map((key) => `${key} is ${text(config, key)} now`).join(", ")}`,
      );
      changed(now);
    }
    if (waiting !== this.#waiting && waiting !== "") {
      log.warn(
        { event: "RestartNeeded" },
        `${waiting} changed in ${this.#options.file}: takes effect when the agent is started again`,
      );
    }
    this.#waiting = waiting;
  }
}

type Nested = Record<string, unknown>;

/** The group that holds a key, and the key's last step. */
function place(config: AgentConfig, key: string): [Nested, string] {
  const steps = key.split(".");
  const last = steps.pop()!;
  let at = config as unknown as Nested;
  for (const step of steps) at = (at[step] ??= {}) as Nested;
  return [at, last];
}

function text(config: AgentConfig, key: string): string {
  const steps = key.split(".");
  const value = steps.reduce((at: unknown, step) => (at as Nested | undefined)?.[step], config);
  return value === undefined ? "unset" : typeof value === "string" ? value : JSON.stringify(value);
}

function assign(config: AgentConfig, loaded: AgentConfig, key: string) {
  const [to, last] = place(config, key);
  const [from] = place(loaded, key);
  if (from[last] === undefined) delete to[last];
  else to[last] = from[last];
}
