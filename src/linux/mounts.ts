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

/** Mounts in a folder, the newest first: the order to unmount them in. */
export function mountsBelow(folder: string, mounts: Mount[] = listMounts()): string[] {
  return mounts.map(({ path }) => path).filter((path) => path.startsWith(folder + "/")).reverse();
}
