import { deepEqual, equal, match } from "node:assert/strict";
import { loadConfig } from "../../config/load.ts";
import { ConfigWatch } from "./config_watch.ts";
import type { Log } from "../log.ts";

/** A ConfigMap as the kubelet mounts it: the file is a symlink through `..data`, which is renamed over. */
class Mounted implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "pcnk-t-cm-" });
  readonly file = `${this.folder}/config.yaml`;
  #count = 0;

  constructor(content: string) {
    this.write(content);
    Deno.symlinkSync("..data/config.yaml", this.file);
  }

  write(content: string) {
    const version = `..v${++this.#count}`;
    Deno.mkdirSync(`${this.folder}/${version}`);
    Deno.writeTextFileSync(`${this.folder}/${version}/config.yaml`, content);
    Deno.symlinkSync(version, `${this.folder}/..data_tmp`);
    Deno.renameSync(`${this.folder}/..data_tmp`, `${this.folder}/..data`);
  }

  [Symbol.dispose]() {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

Deno.test("ConfigWatch follows a mounted ConfigMap: live settings at once, others are logged, mistakes change nothing", async () => {
  using mounted = new Mounted("timeouts: {udp: 60}\n");
  const load = () =>
    loadConfig(
      mounted.file,
      new Map<string, unknown>([["nodeName", "n"], ["snatPorts", { first: 2000, last: 3000 }]]),
    );
  const config = load();
  const lines: string[] = [];
  let next = Promise.withResolvers<void>();
  const say = (_: unknown, text: string) => {
    lines.push(text);
    next.resolve();
  };
  const changed: string[][] = [];
  const watch = new ConfigWatch({
    file: mounted.file,
    load,
    config,
    log: { info: say, warn: say } as unknown as Log,
    changed: (keys) => changed.push([...keys]),
    times: { rescanMs: 600 },
  });
  const after = async (content: string): Promise<string> => {
    next = Promise.withResolvers();
    mounted.write(content);
    const late = setTimeout(() => next.reject(new Error(`nothing was said: ${lines}`)), 10_000);
    await next.promise;
    clearTimeout(late);
    return lines.at(-1)!;
  };
  watch.start();
  try {
    deepEqual(lines, []);
    match(
      await after("timeouts: {udp: 90}\nmasquerade: false\n"),
      /^masquerade is false now, timeouts\.udp is 90 now$/,
    );
    deepEqual([config.timeouts.udp, config.masquerade, config.timeouts.icmp], [90, false, 120]);
    deepEqual(changed, [["masquerade", "timeouts.udp"]]);
    match(
      await after("timeouts: {udp: 90}\nmasquerade: nonsense\n"),
      /config\.yaml:2: masquerade must be true or false.*; all settings stay as they are$/,
    );
    equal(config.masquerade, false);
    await after("timeouts: {udp: 90}\nmasquerade: false\nbridge: br1\nsnatPorts: 1-2\n");
    match(lines.at(-1)!, /^bridge changed in .*: takes effect when the agent is started again$/);
    match(lines.at(-2)!, /is in order again$/);
    equal(config.bridge, "pcnk0");
    deepEqual(config.snatPorts, { first: 2000, last: 3000 }, "a flag wins over the file");
    equal(changed.length, 1);
    match(await after("{}\n"), /^masquerade is true now, timeouts\.udp is 120 now$/);
  } finally {
    watch.stop();
  }
});
