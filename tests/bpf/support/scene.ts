/** The node that most packet tests play on, and tests over it. */
import { CLIENT_MAC, GATEWAY_MAC, type IpOptions } from "./packet.ts";
import type { World } from "./world.ts";

/** A pod of this node that asks for things. */
export const CLIENT = "10.1.0.2";
/** Another pod of this node. */
export const LOCAL = "10.1.0.3";
/** A pod of another node. */
export const REMOTE = "10.2.0.5";
export const GATEWAY = "10.1.0.1";
/** Address of a service. */
export const VIP = "10.96.0.10";
export const LOCAL_MAC = "0a:32:33:34:35:36";
export { CLIENT_MAC, GATEWAY_MAC };

/** How a frame looks that was delivered straight into the pod `LOCAL`, as its gateway would have sent it. */
export const INTO_LOCAL: IpOptions = { ethSrc: GATEWAY_MAC, ethDst: LOCAL_MAC };
export const INTO_CLIENT: IpOptions = { ethSrc: GATEWAY_MAC, ethDst: CLIENT_MAC };
/** How a frame looks that `LOCAL` sends to its gateway. */
export const FROM_LOCAL: IpOptions = { ethSrc: LOCAL_MAC, ethDst: GATEWAY_MAC };

/** Both pods of this node are known. */
export function pods(w: World): void {
  w.endpoint(CLIENT, CLIENT_MAC, { gateway: GATEWAY });
  w.endpoint(LOCAL, LOCAL_MAC, { gateway: GATEWAY });
}

/** A test: its name is the symbol and the claim. It begins with empty maps and the two pods. */
interface PacketCase {
  name: string;
  run(w: World): void | Promise<void>;
}

export const cases: PacketCase[] = [];

/** Adds a test to the suite. */
export function test(name: string, run: PacketCase["run"]): void {
  cases.push({ name, run });
}
