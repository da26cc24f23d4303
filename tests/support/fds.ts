/** What this process holds open, to see that nothing leaks. */

/** The open descriptors with what they stand for, less the one that reads the list. */
export function openFds(): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      found.push(`${name} ${Deno.readLinkSync(`/proc/self/fd/${name}`)}`);
    } catch {
      // the descriptor of the directory itself
    }
  }
  return found.filter((line) => !/\/proc\/\d+\/fd$/.test(line)).sort();
}
