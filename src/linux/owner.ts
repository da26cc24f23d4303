/** Directories that root relies on: what is in them is loaded into the kernel, or believed. */

/**
 * A user with write access to a directory can replace what root keeps in it; in a sticky one he can only add something.
 * @param what the setting, for the message
 * @throws {Error} when the directory, or a link to it, is not root's, or other users may replace files in it
 */
export function checkOwner(what: string, path: string): void {
  const { uid, mode } = Deno.statSync(path);
  const owner = uid || Deno.lstatSync(path).uid;
  if (owner) {
    throw new Error(
      `${what} ${path}: belongs to user ${owner}; check its content, then: chown -h root:root ${path}`,
    );
  }
  const sticky = (mode! & 0o1000) !== 0;
  if (mode! & 0o022 && !sticky) {
    const shown = (mode! & 0o777).toString(8);
    throw new Error(
      `${what} ${path}: other users may write to it (mode ${shown}); check its content, then: chmod 700 ${path}`,
    );
  }
}
