/**
 * Runs a CNI configuration list the way container runtimes do through libcni (CNI SPEC 1.1, section 3): every plugin in
 * turn, each with the result of the one before, DEL in reverse. The laboratory and the tests wire their pods with it.
 *
 * Limitation: nothing is cached on disk. Who calls keeps ADD's result and hands it in again for CHECK and DEL.
 */

/** A configuration list. */
export interface ConflistConfig {
  cniVersion: string;
  name: string;
  disableCheck?: boolean;
  disableGC?: boolean;
  plugins: ({ type: string } & Record<string, unknown>)[];
}

/** What a plugin prints on ADD, as far as callers look inside. */
export interface CniResult {
  cniVersion: string;
  interfaces?: { name: string; mac?: string; sandbox?: string }[];
  ips?: { address: string; gateway?: string; interface?: number; version?: string }[];
  routes?: { dst: string; gw?: string }[];
  dns?: Record<string, unknown>;
}

/** How one plugin process is run. */
export interface PluginCall {
  /** Path of the plugin. */
  path: string;
  /** All of CNI_*, and what the caller adds. */
  env: Record<string, string>;
  /** The plugin's configuration as JSON. */
  stdin: Uint8Array<ArrayBuffer>;
}

/** What came of it. */
export interface PluginOutput {
  code: number;
  stdout: Uint8Array;
  stderr: Uint8Array;
}

/** One operation on one attachment (or, for GC and STATUS, on the network). */
export interface ConflistCall {
  conflist: ConflistConfig;
  verb: "ADD" | "CHECK" | "DEL" | "GC" | "STATUS";
  /** Where plugins are looked for, in order; becomes CNI_PATH. */
  pluginDirs: string[];
  containerID?: string;
  /** Path of the pod's network namespace; may be left out for DEL. */
  netns?: string;
  ifname?: string;
  /** CNI_ARGS, e.g. `{ K8S_POD_NAME: "web" }`. */
  args?: Record<string, string>;
  /** What the runtime offers by capability, e.g. `{ portMappings: […] }`; a plugin gets those it declares. */
  capabilityArgs?: Record<string, unknown>;
  /** ADD's result, for CHECK and DEL. */
  prevResult?: unknown;
  /** For GC. */
  validAttachments?: { containerID: string; ifname: string }[];
  /** Added to the environment of every plugin. */
  env?: Record<string, string>;
  /** Runs a plugin somewhere else, e.g. in a node's namespace; by default as a child right here. */
  exec?: (call: PluginCall) => Promise<PluginOutput>;
  /** Takes what each plugin writes to its standard error. */
  onStderr?: (type: string, text: string) => void;
}

/** A plugin that failed, with its own words (CNI SPEC 1.1, section 5, Error). */
export class CniError extends Error {
  override readonly name = "CniError";

  constructor(
    readonly verb: string,
    /** The plugin's type. */
    readonly plugin: string,
    /** The plugin's code; 999 when it told none, as libcni has it. */
    readonly code: number,
    readonly msg: string,
    readonly details: string = "",
  ) {
    super(`CNI ${verb}: plugin ${plugin} failed with code ${code}: ${joined(msg, details)}`);
  }
}

function joined(msg: string, details: string): string {
  return details === "" ? msg : `${msg}: ${details}`;
}

/**
 * Runs the list. Of ADD it returns the last plugin's result, of the other verbs nothing.
 *
 * ADD, CHECK, DEL and STATUS stop at the first plugin that fails. GC goes on and throws the first error at the end.
 * CHECK, GC and STATUS do nothing where the list's version does not have them or the list disables them.
 *
 * @throws CniError when a plugin fails
 * @throws Error when a plugin is not in `pluginDirs`
 */
export async function runConflist(
  call: ConflistCall & { verb: "ADD" },
): Promise<CniResult>;
export async function runConflist(call: ConflistCall): Promise<CniResult | undefined>;
export async function runConflist(call: ConflistCall): Promise<CniResult | undefined> {
  const { conflist, verb } = call;
  if (!applies(conflist, verb)) return undefined;
  // DEL has had it since 0.4.0.
  const final = verb === "CHECK" || (verb === "DEL" && atLeast(conflist.cniVersion, 0, 4));
  let prevResult = final ? call.prevResult : undefined;
  let failure: unknown;
  for (const plugin of verb === "DEL" ? conflist.plugins.toReversed() : conflist.plugins) {
    try {
      const output = await runPlugin(call, plugin, prevResult);
      if (verb === "ADD") prevResult = parseResult(output, plugin.type);
    } catch (error) {
      if (verb !== "GC") throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return verb === "ADD" ? prevResult as CniResult : undefined;
}

function applies(conflist: ConflistConfig, verb: ConflistCall["verb"]): boolean {
  switch (verb) {
    case "CHECK":
      return !conflist.disableCheck && atLeast(conflist.cniVersion, 0, 4);
    case "GC":
      return !conflist.disableGC && atLeast(conflist.cniVersion, 1, 1);
    case "STATUS":
      return atLeast(conflist.cniVersion, 1, 1);
    default:
      return true;
  }
}

function atLeast(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split(".").map(Number);
  return a > major || (a === major && b >= minor);
}

/** The configuration of one plugin as it goes to its standard input (section 3, "Deriving execution configuration"). */
function pluginConfig(
  call: Pick<ConflistCall, "conflist" | "verb" | "capabilityArgs" | "validAttachments">,
  plugin: ConflistConfig["plugins"][number],
  prevResult: unknown,
): Record<string, unknown> {
  const { capabilities, ...rest } = plugin;
  const config: Record<string, unknown> = {
    ...rest,
    cniVersion: call.conflist.cniVersion,
    name: call.conflist.name,
  };
  if (prevResult !== undefined) config.prevResult = prevResult;
  const declared = Object.entries((capabilities ?? {}) as Record<string, boolean>);
  const granted = declared.filter(([name, wanted]) => wanted && call.capabilityArgs?.[name]);
  if (granted.length > 0) {
    config.runtimeConfig = Object.fromEntries(
      granted.map(([name]) => [name, call.capabilityArgs![name]]),
    );
  }
  if (call.verb === "GC") {
    config["cni.dev/valid-attachments"] = call.validAttachments ?? [];
    // libcni sends it twice: the SPEC once had the other name.
    config["cni.dev/attachments"] = call.validAttachments ?? [];
  }
  return config;
}

async function runPlugin(
  call: ConflistCall,
  plugin: ConflistConfig["plugins"][number],
  prevResult: unknown,
): Promise<string> {
  const { verb } = call;
  const output = await (call.exec ?? execute)({
    path: findPlugin(plugin.type, call.pluginDirs),
    env: environment(call),
    stdin: new TextEncoder().encode(JSON.stringify(pluginConfig(call, plugin, prevResult))),
  });
  const stdout = new TextDecoder().decode(output.stdout);
  const stderr = new TextDecoder().decode(output.stderr);
  if (stderr !== "") call.onStderr?.(plugin.type, stderr);
  if (output.code !== 0) throw pluginError(verb, plugin.type, output.code, stdout, stderr);
  return stdout;
}

/** @throws Error when no folder has it */
function findPlugin(type: string, folders: string[]): string {
  if (type === "" || type.includes("/")) throw new Error(`bad plugin type ${JSON.stringify(type)}`);
  for (const folder of folders) {
    try {
      if (Deno.statSync(`${folder}/${type}`).isFile) return `${folder}/${type}`;
    } catch {
      continue; // Not in this one.
    }
  }
  throw new Error(`no CNI plugin ${JSON.stringify(type)} in ${folders.join(":")}`);
}

function environment(call: ConflistCall): Record<string, string> {
  const env: Record<string, string> = { CNI_COMMAND: call.verb };
  env.CNI_PATH = call.pluginDirs.join(":");
  if (call.verb !== "GC" && call.verb !== "STATUS") {
    env.CNI_CONTAINERID = call.containerID ?? "";
    env.CNI_NETNS = call.netns ?? "";
    env.CNI_IFNAME = call.ifname ?? "";
    const args = Object.entries(call.args ?? {});
    if (args.length > 0) env.CNI_ARGS = args.map(([key, value]) => `${key}=${value}`).join(";");
  }
  return { ...env, ...call.env };
}

async function execute({ path, env, stdin }: PluginCall): Promise<PluginOutput> {
  const options = { env, stdin: "piped", stdout: "piped", stderr: "piped" } as const;
  const child = new Deno.Command(path, options).spawn();
  return await feed(child, stdin);
}

/** Gives a child its whole standard input and collects what it says. A child that does not read it all is no error. */
export async function feed(
  child: Deno.ChildProcess,
  stdin: Uint8Array<ArrayBuffer>,
): Promise<PluginOutput> {
  const written = new Blob([stdin]).stream().pipeTo(child.stdin).catch((error) => {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  });
  const [{ code, stdout, stderr }] = await Promise.all([child.output(), written]);
  return { code, stdout, stderr };
}

function parseResult(stdout: string, type: string): CniResult {
  try {
    const result = JSON.parse(stdout);
    if (typeof result === "object" && result !== null) return result;
  } catch {
    // Said below.
  }
  throw new CniError("ADD", type, 999, "no result on its standard output", stdout.slice(0, 200));
}

/** A plugin's error; without JSON, all that it printed. */
function pluginError(verb: string, type: string, code: number, stdout: string, stderr: string) {
  try {
    const told = JSON.parse(stdout);
    if (typeof told.code === "number") {
      return new CniError(verb, type, told.code, String(told.msg ?? ""), told.details);
    }
  } catch {
    // Said below.
  }
  const words = (stdout + stderr).trim() || "it says nothing";
  return new CniError(verb, type, 999, `exit code ${code}`, words);
}
