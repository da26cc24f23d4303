/**
 * Where on this machine a cluster lives: a directory, a prefix for the names of its devices and namespaces, a network.
 * Several may run beside each other. What a killed run has left is taken away by the next one.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { identify } from "../../../src/lab/process.ts";

/** See `kit.ts`. */
export interface Place {
  /** All state of the cluster. */
  dir: string;
  /** At most 9 characters: `PREFIXbr0`, `PREFIXn1` and so on are device names. */
  prefix: string;
  /** First three bytes of a /24, like `192.168.100`. */
  net: string;
  /** The directory is the test's own and goes with it. */
  own: boolean;
}

/** Not below /run, /sys, /dev: each node has these for itself. */
const PARENT = "/var/tmp";
const NAME = /^pcnk-kube-(\d+)$/;
/** Third byte of the networks that are tried. */
const FIRST = 100, LAST = 199;

/** The place that KUBE_KIT_DIR names, or a free one of this run's own; `clean` takes away a dead run's cluster. */
export async function claimPlace(clean: (place: Place) => Promise<void>): Promise<Place> {
  const { KUBE_KIT_DIR, KUBE_KIT_PREFIX = "kk", KUBE_KIT_NET = "192.168.77" } = process.env;
  if (KUBE_KIT_DIR !== undefined) {
    return { dir: KUBE_KIT_DIR, prefix: KUBE_KIT_PREFIX, net: KUBE_KIT_NET, own: false };
  }
  for (const place of taken()) {
    if (isOwned(place)) continue;
    await clean(place);
    releasePlace(place);
  }
  for (let slot = FIRST; slot <= LAST; slot++) {
    const place = placeOf(slot);
    if (!inUse(place.net) && claim(place)) return place;
  }
  throw new Error(`all places below ${PARENT}/pcnk-kube-* are taken`);
}

/** Removes the directory, if it is the test's own. */
export function releasePlace(place: Place): void {
  if (place.own) rmSync(place.dir, { recursive: true, force: true });
}

function placeOf(slot: number): Place {
  const dir = join(PARENT, `pcnk-kube-${slot}`);
  return { dir, prefix: `pk${slot}`, net: `192.168.${slot}`, own: true };
}

function taken(): Place[] {
  return readdirSync(PARENT).flatMap((name) => {
    const slot = NAME.exec(name)?.[1];
    return slot === undefined ? [] : [placeOf(Number(slot))];
  });
}

/** Making the directory is the claim: it succeeds for one process only. */
function claim(place: Place): boolean {
  try {
    mkdirSync(place.dir, { mode: 0o700 });
  } catch (error) {
    if ((error as { code?: string }).code === "EEXIST") return false;
    throw error;
  }
  writeFileSync(join(place.dir, "owner"), `${Deno.pid} ${identify(Deno.pid)!.startTime}`);
  return true;
}

/** Whether the process that made a place still runs, or is just about to write that it does. */
function isOwned({ dir }: Place): boolean {
  const file = join(dir, "owner");
  if (!existsSync(file)) return Date.now() - statSync(dir).mtimeMs < 10_000;
  const [pid = "", start = ""] = readFileSync(file, "utf8").split(" ");
  return identify(Number(pid))?.startTime === Number(start);
}

function inUse(net: string): boolean {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.some(({ address }) => address.startsWith(`${net}.`));
}
