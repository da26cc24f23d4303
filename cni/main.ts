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
import { NewerRecordError } from "../src/node/schema.ts";
import { add } from "./add.ts";
import { Call, internal, type Io } from "./call.ts";
import { check } from "./check.ts";
import { type CniVersion, type Config, readConfig, VERSIONS } from "./config.ts";
import { del } from "./del.ts";
import { type Container, readContainer, readVerb, type Verb } from "./env.ts";
import { CniError, CODE, newerRecord } from "./errors.ts";
import { gc } from "./gc.ts";
import { Log } from "./log.ts";
import { status } from "./status.ts";
import { versionResult } from "./version.ts";

/** Versions that introduced the verbs which 0.3.0 does not have. */
const SINCE: Partial<Record<Verb, CniVersion>> = {
  CHECK: "0.4.0",
  GC: "1.1.0",
  STATUS: "1.1.0",
};

/** What is recorded of a call, known once verb and configuration are. */
interface Measured {
  verb: CniCall["verb"];
  bpffs: string;
}

/** Runs the verb that the environment asks for; prints its result or error; returns the exit code. */
export function runCni(io?: Io): number {
  const call = new Call(io);
  let measured: Measured | undefined;
  const code = call.answer(() => serve(call, (known) => measured = known), explain);
  if (measured !== undefined) record(call, measured, code !== 0);
  return code;
}

/** Records the call's duration for the agent's metrics; a failure of that does not fail the call. */
function record({ io, log }: Call, { verb, bpffs }: Measured, failed: boolean): void {
  try {
    pushCall(bpffs, { verb, seconds: (io.now?.() ?? performance.now()) / 1000, failed });
  } catch (error) {
    log.debug("the call's duration is not recorded", { reason: (error as Error).message });
  }
}

function serve(call: Call, measure: (what: Measured) => void): string | undefined {
  const { io } = call;
  // Read first, so that an error of the environment has the configuration's version; its own errors come after that.
  const input = call.readInput();
  const verb = readVerb(io.env);
  if (verb === "VERSION") return versionResult(call, input);
  const container = verb === "ADD" || verb === "CHECK" || verb === "DEL"
    ? readContainer(io.env, verb)
    : undefined;
  const { containerID, ifname } = container ?? {};
  call.log = new Log("info", { verb, containerID, ifname }, io.log);
  const config = readConfig(input(), verb === "DEL");
  const context = { verb, network: config.name, containerID, ifname };
  call.log = new Log(config.logLevel, context, io.log);
  measure({ verb, bpffs: config.bpffs });
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

function needVersion(verb: Verb, cniVersion: CniVersion): void {
  const since = SINCE[verb];
  if (!since || VERSIONS.indexOf(cniVersion) >= VERSIONS.indexOf(since)) return;
  throw new CniError(
    CODE.INCOMPATIBLE_VERSION,
    `${verb} came with CNI ${since}; the configuration is of version ${cniVersion}`,
  );
}

function explain(error: unknown): CniError {
  if (error instanceof SyscallError) {
    const needsRoot = error.code === "EPERM" || error.code === "EACCES";
    const advice = needsRoot ? "pcnk must run as root" : undefined;
    return new CniError(CODE.KERNEL, error.message, advice);
  }
  if (error instanceof NewerRecordError) return newerRecord(error);
  if (error instanceof AttachError) return new CniError(CODE.KERNEL, error.message);
  return internal(error);
}
