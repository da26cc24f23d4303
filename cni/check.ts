/** CHECK: is what ADD set up still there? The first thing that is not is the error. */
import { NotInstalledError, openDataPlane } from "../src/bpf/dataplane.ts";
import { RtNetlink } from "../src/linux/rtnetlink.ts";
import type { Config } from "./config.ts";
import type { Container } from "./env.ts";
import { CniError, CODE } from "./errors.ts";
import { isInPlace, placePrograms } from "./hooks.ts";
import { podAddresses } from "./result.ts";
import { State } from "./state.ts";
import { findVeth } from "./veth.ts";

/** @throws {CniError} code 7 without prevResult, 3 for an unknown container, 100 naming what is not right */
export function check(config: Config, container: Container): void {
  const { prevResult, bpffs, stateDir } = config;
  if (!prevResult) throw new CniError(CODE.INVALID_CONFIG, "there is no prevResult");
  using state = State.open(stateDir, "shared");
  const attachment = state.read(container);
  if (!attachment) {
    const { containerID, ifname } = container;
    throw new CniError(CODE.UNKNOWN_CONTAINER, `pcnk has no record of ${ifname} of ${containerID}`);
  }
  using nl = RtNetlink.open();
  const veth = findVeth(nl, container);
  if (veth.host.index !== attachment.hostIfindex) {
    throw bad(`the pod's veth is ${veth.host.name} now; it was ${attachment.hostIfname}`);
  }
  using dataPlane = installed(bpffs);
  for (const placed of placePrograms(bpffs, nl, veth.host)) {
    if (!isInPlace(dataPlane, placed)) {
      throw bad(`${placed.name} is not attached to ${placed.hook.direction} of ${placed.device}`);
    }
  }
  for (const { address, gateway = "0.0.0.0" } of podAddresses(prevResult, container)) {
    const entry = dataPlane.maps.endpoints.get({ addr: address });
    if (!entry) throw bad(`${address} is not in the endpoints map`);
    const { host, mac } = veth;
    if (entry.ifindex !== host.index || entry.mac !== mac || entry.gateway !== gateway) {
      throw bad(
        `${address} is wrong in the endpoints map: device ${entry.ifindex}, MAC ${entry.mac}, ` +
          `gateway ${entry.gateway}; expected ${host.index}, ${mac}, ${gateway}`,
      );
    }
  }
}

function installed(bpffs: string) {
  try {
    return openDataPlane(bpffs);
  } catch (error) {
    if (error instanceof NotInstalledError) throw bad(`no eBPF programs are loaded at ${bpffs}`);
    throw error;
  }
}

function bad(message: string): CniError {
  return new CniError(CODE.CHECK_FAILED, message);
}
