/**
 * Installs hostlb: loads its programs with the node's pinned maps and attaches them to a cgroup, or replaces those that are
 * there. install.ts runs first: it makes the maps of services.
 */
import { netnsCookie, NetnsCookieError } from "../linux/netns_cookie.ts";
import { readArtifact } from "./artifacts.ts";
import { attachCgroup, type CgroupHook, detachCgroup, listCgroupHooks } from "./cgroup.ts";
import { HOSTLB_FLAG, hostlbMaps } from "./layout.ts";
import { netnsCookieByProgram } from "./netns_cookie.ts";
import { type LoadedObject, loadObject } from "./object.ts";
import { forgetFormer, planMaps, recordVersions, Renewal } from "./map_plan.ts";
import { makePinDirectories, mapPin, removePin } from "./pins.ts";
import { recoverCgroupPins } from "./recover.ts";

/** Whose sockets: of the node's network namespace, or of every one. */
export type SocketLb = "host" | "all";

/** How to install. */
interface HostlbOptions {
  /** The node's directory, on a bpffs. */
  bpffs: string;
  /** Directory of the cgroup (v2) whose processes are served, those below it included. */
  cgroup: string;
  /** Path of the node's network namespace; by default the caller's. */
  netns?: string;
  socketLb: SocketLb;
  /** The object; hostlb.bpf.o by default. */
  object?: Uint8Array<ArrayBuffer>;
  log?: (text: string) => void;
}

const OBJECT = "hostlb.bpf.o";

/** In this order: no socket is connected to a backend that its process could not take for the service. */
export const HOSTLB_HOOKS: readonly CgroupHook[] = [
  "sock_release",
  "getpeername4",
  "getpeername6",
  "recvmsg4",
  "recvmsg6",
  "sendmsg4",
  "connect4",
  "connect6",
];

/**
 * Installs or upgrades hostlb. Sockets keep what they have.
 * @throws {LoadError} with the verifier's log
 * @throws {MapMismatchError} when a pinned map does not fit
 * @throws {CgroupError} when the cgroup is none, or another tool holds it for itself alone
 * @throws {NetnsCookieError} before Linux 5.14, for a node in a network namespace of its own, when the caller is outside the cgroup
 */
export function installHostlb(options: HostlbOptions): void {
  const { bpffs, socketLb, log } = options;
  const bytes = options.object ?? readArtifact(OBJECT);
  makePinDirectories(bpffs);
  for (const pin of recoverCgroupPins(bpffs, options.cgroup)) {
    log?.(`${pin} was gone and is pinned again: what is attached uses it`);
  }
  const { fresh, former } = planMaps(bpffs, Object.keys(hostlbMaps), {});
  const pinDir = `${bpffs}/map`;
  using object = loadObject(bytes, { name: OBJECT, pinDir, keepCapacities: true, fresh, log });
  const made = new Map([...object.maps].filter(([name]) => fresh.has(name)));
  recordVersions(bpffs, made);
  using renewal = new Renewal(bpffs, made, former, hostlbMaps);
  renewal.copy();
  renewal.pin();
  using config = object.map(hostlbMaps.hostlb_config);
  config.set(0, {
    netns_cookie: cookieOf(options),
    flags: socketLb === "all" ? HOSTLB_FLAG.ALL : 0,
  });
  attachAll(options, object);
  renewal.finish();
  forgetFormer(bpffs);
}

function cookieOf({ cgroup, netns }: HostlbOptions): bigint {
  try {
    return netnsCookie(netns);
  } catch (error) {
    if (!(error instanceof NetnsCookieError)) throw error;
    const cookie = netnsCookieByProgram(cgroup, netns);
    if (cookie === undefined) throw error;
    return cookie;
  }
}

/** All hooks or, of those that were bare, none: half of them would translate one way only. */
function attachAll({ bpffs, cgroup, log }: HostlbOptions, object: LoadedObject): void {
  const created: CgroupHook[] = [];
  try {
    for (const hook of HOSTLB_HOOKS) {
      const programFd = object.program(`hostlb_${hook}`);
      const { change } = attachCgroup({ bpffs, cgroup, hook, programFd });
      if (change === "created") created.push(hook);
      else if (change === "replaced") log?.(`program replaced on ${hook} of ${cgroup}`);
    }
  } catch (error) {
    for (const hook of created.reverse()) detachCgroup(bpffs, hook);
    throw error;
  }
}

/**
 * Detaches hostlb and forgets its maps, but those it shares. Connected sockets stay connected. Returns false
 * when there was nothing.
 */
export function removeHostlb(bpffs: string): boolean {
  const present = new Set(listCgroupHooks(bpffs));
  for (const hook of [...HOSTLB_HOOKS].reverse()) {
    if (present.has(hook)) detachCgroup(bpffs, hook);
  }
  for (const name of Object.keys(hostlbMaps)) {
    removePin(mapPin(bpffs, name));
  }
  return present.size > 0;
}
