/**
 * pcnk as a CNI plugin: chained behind `bridge` (or another plugin that makes a veth pair), it puts lbrp on the pod's
 * interface. CNI SPEC 1.1, versions 0.3.0 to 1.1.0; every verb works with the maps and programs that the agent
 * has pinned, and needs no running agent.
 *
 * Limitation: not a plugin by itself. It makes no interface and hands out no address.
 */
import { SyscallError } from "../src/linux/libc.ts";
import { add } from "./add.ts";
import { check } from "./check.ts";
import {
  type Config,
  type JsonObject,
  readConfig,
  readInput,
  readVersion,
  VERSIONS,
} from "./config.ts";
import { del } from "./del.ts";
import { type Container, readContainer, readVerb, type Verb } from "./env.ts";
import { CniError, CODE, errorResult } from "./errors.ts";
import { gc } from "./gc.ts";
import { Log } from "./log.ts";
import { status } from "./status.ts";

const NEWEST = VERSIONS[VERSIONS.length - 1]!;

/** Verbs that came later than 0.3.0, and with which version. */
const SINCE: Partial<Record<Verb, typeof VERSIONS[number]>> = {
  CHECK: "0.4.0",
  GC: "1.1.0",
  STATUS: "1.1.0",
};

/** Runs the verb that the environment asks for; prints its result or error; returns the exit code. */
export function runCni(): number {
  let cniVersion: string = NEWEST;
  try {
    const verb = readVerb(Deno.env.get);
    if (verb === "VERSION") {
      print(versionResult());
      return 0;
    }
    const container = verb === "ADD" || verb === "CHECK" || verb === "DEL"
      ? readContainer(Deno.env.get, verb)
      : undefined;
    const input = readInput(readStdin);
    const version = readVersion(input);
    cniVersion = version;
    requireVersion(verb, version);
    const result = perform(verb, readConfig(input, verb === "DEL"), container);
    if (result) print(result);
    return 0;
  } catch (error) {
    print(errorResult(explain(error), cniVersion));
    return 1;
  }
}

function perform(verb: Verb, config: Config, container?: Container): JsonObject | undefined {
  const log = new Log(config.logLevel, { verb, network: config.name });
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

/** Speaks to any version of a runtime: the answer is in the version of the question where that is known. */
function versionResult(): JsonObject {
  let asked: unknown;
  try {
    asked = readInput(readStdin)["cniVersion"];
  } catch (error) {
    // Asked by hand, with no configuration at all.
    if (!(error instanceof CniError && /it is empty/.test(error.message))) throw error;
  }
  return {
    cniVersion: typeof asked === "string" ? asked : NEWEST,
    supportedVersions: [...VERSIONS],
  };
}

function requireVersion(verb: Verb, cniVersion: typeof VERSIONS[number]): void {
  const since = SINCE[verb];
  if (!since || VERSIONS.indexOf(cniVersion) >= VERSIONS.indexOf(since)) return;
  throw new CniError(
    CODE.INCOMPATIBLE_VERSION,
    `${verb} came with CNI ${since}; the configuration is of version ${cniVersion}`,
  );
}

function explain(error: unknown): unknown {
  if (!(error instanceof SyscallError)) return error;
  const needsRoot = error.code === "EPERM" || error.code === "EACCES";
  return new CniError(CODE.KERNEL, error.message, needsRoot ? "pcnk must run as root" : undefined);
}

function readStdin(buffer: Uint8Array): number | null {
  return Deno.stdin.readSync(buffer);
}

function print(result: JsonObject): void {
  const bytes = new TextEncoder().encode(JSON.stringify(result) + "\n");
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}
