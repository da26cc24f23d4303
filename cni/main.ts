/**
 * pcnk as a CNI plugin: chained behind `bridge` (or another plugin that makes a veth pair), it attaches lbrp to the pod's
 * interface. CNI SPEC 1.1, versions 0.3.0 to 1.1.0; every verb works with the maps and programs that the agent
 * has pinned, and needs no running agent.
 *
 * Limitation: it creates no interface and assigns no address; plugins before it in the chain do.
 */
import { AttachError } from "../src/bpf/attach.ts";
import { type CniCall, pushCall } from "../src/bpf/cni_calls.ts";
import { SyscallError } from "../src/linux/libc.ts";
import type { JsonObject } from "../src/node/files.ts";
import { NewerRecordError } from "../src/node/schema.ts";
import { add } from "./add.ts";
import { check } from "./check.ts";
import {
  type CniVersion,
  type Config,
  parseInput,
  readConfig,
  readText,
  VERSIONS,
} from "./config.ts";
import { del } from "./del.ts";
import { type Container, type Environment, readContainer, readVerb, type Verb } from "./env.ts";
import { CniError, CODE, errorResult, newerRecord } from "./errors.ts";
import { gc } from "./gc.ts";
import { Log } from "./log.ts";
import { status } from "./status.ts";

const NEWEST = VERSIONS[VERSIONS.length - 1]!;

/** Versions that introduced the verbs which 0.3.0 does not have. */
const SINCE: Partial<Record<Verb, CniVersion>> = {
  CHECK: "0.4.0",
  GC: "1.1.0",
  STATUS: "1.1.0",
};

/** What a call reads and writes; tests give their own. */
interface Io {
  env: Environment;
  /** Fills a buffer from standard input and returns how much, or null at the end. */
  read(buffer: Uint8Array): number | null;
  /** Writes to standard output. */
  print(text: string): void;
  /** Writes to standard error; by default that of the process. */
  log?: (line: string) => void;
  /** Milliseconds since the call began; by default since the process did. */
  now?: () => number;
}

const processIo: Io = {
  env: (name) => {
    try {
      return Deno.env.get(name);
    } catch {
      return "\ufffd/"; // not UTF-8: no check lets this pass
    }
  },
  // `CNI_COMMAND=VERSION pcnk` at a terminal: no configuration comes.
  read: (buffer) => Deno.stdin.isTerminal() ? null : Deno.stdin.readSync(buffer),
  print: (text) => {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  },
};

/** One call, as far as it is parsed. */
interface Call {
  io: Io;
  /** Version of the result. */
  cniVersion: string;
  log: Log;
  /** Known once verb and configuration are. */
  measured?: { verb: CniCall["verb"]; bpffs: string };
}

/** Runs the verb that the environment asks for; prints its result or error; returns the exit code. */
export function runCni(io: Io = processIo): number {
  const call: Call = { io, cniVersion: NEWEST, log: new Log("info", {}, io.log) };
  try {
    const text = serve(call);
    if (text !== undefined) io.print(`${text}\n`);
    measure(call, false);
    return 0;
  } catch (error) {
    const { code, message, details } = explain(error);
    call.log.error(message, { code, details });
    const result = errorResult(new CniError(code, message, details), call.cniVersion);
    try {
      io.print(`${JSON.stringify(result)}\n`);
    } catch {
      // The runtime is gone; the exit code remains.
    }
    measure(call, true);
    return 1;
  }
}

/** Records the call's duration for the agent's metrics; a failure of that does not fail the call. */
function measure({ io, log, measured }: Call, failed: boolean): void {
  if (measured === undefined) return;
  const { verb, bpffs } = measured;
  try {
    pushCall(bpffs, { verb, seconds: (io.now?.() ?? performance.now()) / 1000, failed });
  } catch (error) {
    log.debug("the call's duration is not recorded", { reason: (error as Error).message });
  }
}

function serve(call: Call): string | undefined {
  const { io } = call;
  // Read first, so that an error of the environment has the configuration's version; its own errors come after that.
  const input = readInput(call);
  const verb = readVerb(io.env);
  if (verb === "VERSION") return JSON.stringify(versionResult(input()));
  const container = verb === "ADD" || verb === "CHECK" || verb === "DEL"
    ? readContainer(io.env, verb)
    : undefined;
  const { containerID, ifname } = container ?? {};
  call.log = new Log("info", { verb, containerID, ifname }, io.log);
  const config = readConfig(input(), verb === "DEL");
  const context = { verb, network: config.name, containerID, ifname };
  call.log = new Log(config.logLevel, context, io.log);
  call.measured = { verb, bpffs: config.bpffs };
  needVersion(verb, config.cniVersion);
  return perform(verb, config, container, call.log);
}

function perform(
  verb: Exclude<Verb, "VERSION">,
  config: Config,
  container: Container | undefined,
  log: Log,
): string | undefined {
  switch (verb) {
    case "ADD":
      return add(config, container!, log);
    case "CHECK":
      return void check(config, container!);
    case "DEL":
      return void del(config, container!, log);
    case "GC":
      return void gc(config, log);
    case "STATUS":
      return void status(config);
  }
}

/** Reads standard input; its errors are thrown when the result is called. */
function readInput(call: Call): () => JsonObject {
  try {
    const text = readText(call.io.read);
    // By hand, without a configuration.
    if (text.trim() === "" && call.io.env("CNI_COMMAND") === "VERSION") return () => ({});
    const input = parseInput(text);
    call.cniVersion = statedVersion(input) ?? NEWEST;
    return () => input;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

/** Works with a runtime of any version: the result has the version of the request where it has one. */
function versionResult(input: JsonObject): JsonObject {
  return { cniVersion: statedVersion(input) ?? NEWEST, supportedVersions: VERSIONS };
}

function statedVersion({ cniVersion }: JsonObject): string | undefined {
  const good = typeof cniVersion === "string" && /^\d[\w.+-]{0,31}$/.test(cniVersion);
  return good ? cniVersion : undefined;
}

function needVersion(verb: Verb, cniVersion: CniVersion): void {
  const since = SINCE[verb];
  if (!since || VERSIONS.indexOf(cniVersion) >= VERSIONS.indexOf(since)) return;
  throw new CniError(
    CODE.INCOMPATIBLE_VERSION,
    `${verb} came with CNI ${since}; the configuration is of version ${cniVersion}`,
  );
}

function explain(error: unknown): CniError {
  if (error instanceof CniError) return error;
  if (error instanceof SyscallError) {
    const needsRoot = error.code === "EPERM" || error.code === "EACCES";
    const advice = needsRoot ? "pcnk must run as root" : undefined;
    return new CniError(CODE.KERNEL, error.message, advice);
  }
  if (error instanceof NewerRecordError) return newerRecord(error);
  if (error instanceof AttachError) return new CniError(CODE.KERNEL, error.message);
  return new CniError(CODE.INTERNAL, error instanceof Error ? error.message : String(error));
}
