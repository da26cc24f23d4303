/** Reads /proc/self/mounts (proc(5)). */

/** A mounted file system. */
interface Mount {
  path: string;
  type: string;
}

/** Reads the text of /proc/self/mounts, in the order of mounting. Octal escapes stand for blanks and backslashes. */
export function parseMounts(text: string): Mount[] {
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const [, path = "", type = ""] = line.split(" ");
    const unescape = (_: string, octal: string) => String.fromCharCode(parseInt(octal, 8));
    return { path: path.replace(/\\([0-7]{3})/g, unescape), type };
  });
}

/** All mounts. */
function listMounts(): Mount[] {
  return parseMounts(Deno.readTextFileSync("/proc/self/mounts"));
}

/** Where cgroup v2 is mounted; null when it is not. */
export function findCgroup2(mounts: Mount[] = listMounts()): string | null {
  return mounts.find(({ type }) => type === "cgroup2")?.path ?? null;
}

/** Where systemd mounts cgroup v2, or on hybrid machines a tmpfs with it below. */
export const CGROUP_ROOT = "/sys/fs/cgroup";

/**
 * The cgroup v2 directory for the setting `cgroup`: a mount below it where it is none itself, as on machines with cgroup
 * v1 beside v2 (`/sys/fs/cgroup/unified`); for the usual place also a mount elsewhere. Undefined: there is none.
 */
export function cgroup2For(
  wanted: string,
  isCgroup2: (path: string) => boolean,
  mounts: Mount[] = listMounts(),
): string | undefined {
  const paths = mounts.filter(({ type }) => type === "cgroup2").map(({ path }) => path);
  const below = paths.filter((path) => path.startsWith(`${wanted}/`));
  const elsewhere = wanted === CGROUP_ROOT ? paths : [];
  return [wanted, ...below, ...elsewhere].find(isCgroup2);
}

/** Mounts in a folder, the newest first: the order to unmount them in. */
export function mountsBelow(folder: string, mounts: Mount[] = listMounts()): string[] {
  return mounts.map(({ path }) => path).filter((path) => path.startsWith(folder + "/")).reverse();
}
