/**
 * The parameters that a runtime passes in the environment: CNI SPEC 1.1, section 2.
 *
 * They end up in paths, so each is checked against the spec's grammar first.
 */
import {
  type AttachmentId,
  containerIdFault,
  interfaceNameFault,
} from "../src/node/attachments.ts";
import { CniError, CODE, show } from "./errors.ts";

export const VERBS = ["ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"] as const;
export type Verb = typeof VERBS[number];

/** What ADD, CHECK and DEL are about. */
export interface Container extends AttachmentId {
  /** Path of the network namespace; absent on a DEL after the namespace has gone. */
  netns?: string;
  /** `namespace/name` of the pod, where CNI_ARGS has it; for display. */
  pod?: string;
}

/** Reads a variable; undefined when it is not set. */
export type Environment = (name: string) => string | undefined;

/** @throws {CniError} code 4 when CNI_COMMAND is none of the verbs */
export function readVerb(env: Environment): Verb {
  const given = env("CNI_COMMAND") ?? "";
  const verb = VERBS.find((verb) => verb === given);
  if (verb === undefined) {
    throw new CniError(
      CODE.INVALID_ENVIRONMENT,
      `CNI_COMMAND is ${show(given)}`,
      `it must be one of ${VERBS.join(", ")}`,
    );
  }
  return verb;
}

/**
 * The container of an ADD, CHECK or DEL.
 * @throws {CniError} code 4 naming every variable that is missing or bad
 */
export function readContainer(env: Environment, verb: "ADD" | "CHECK" | "DEL"): Container {
  const faults: string[] = [];
  const read = (name: string, fault: (text: string) => string | undefined, required: boolean) => {
    const text = env(name) ?? "";
    const found = text === "" ? required ? "is missing" : undefined : fault(text);
    if (found !== undefined) {
      faults.push(text === "" ? `${name} ${found}` : `${name} is ${show(text)}: ${found}`);
    }
    return text;
  };
  const containerID = read("CNI_CONTAINERID", containerIdFault, true);
  const ifname = read("CNI_IFNAME", interfaceNameFault, true);
  const netns = read("CNI_NETNS", netnsFault, verb !== "DEL") || undefined;
  const pod = podName(read("CNI_ARGS", argsFault, false));
  if (faults.length > 0) {
    throw new CniError(
      CODE.INVALID_ENVIRONMENT,
      faults.join("; "),
      `${verb} was called with bad environment variables`,
    );
  }
  return { containerID, ifname, netns, pod };
}

function netnsFault(value: string): string | undefined {
  if (value.startsWith("/") && value.length < 4096 && !value.split("/").includes("..")) {
    return undefined;
  }
  return "it must be an absolute path without '..'";
}

function argsFault(value: string): string | undefined {
  if (value.length > 65536) return "it is longer than 65536";
  const bad = value.split(";").find((pair) => !/^[^=]+=/.test(pair));
  return bad === undefined ? undefined : `${show(bad)} is not NAME=VALUE`;
}

/** `namespace/name` from the arguments that Kubernetes' runtimes pass. */
function podName(args: string): string | undefined {
  const find = (name: string) =>
    args.split(";").find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
  const [namespace, name] = [find("K8S_POD_NAMESPACE"), find("K8S_POD_NAME")];
  return namespace && name ? `${namespace}/${name}`.slice(0, 400) : undefined;
}
