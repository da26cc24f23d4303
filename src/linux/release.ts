/** Which Linux runs, where that decides. */

/** Whether it is at least `major.minor`. @param release as uname(2) says it: `6.1.0-18-amd64` */
export function isLinux(major: number, minor: number, release: string = Deno.osRelease()): boolean {
  const [here = 0, next = 0] = release.split(".").map((part) => parseInt(part, 10));
  return here > major || (here === major && next >= minor);
}
