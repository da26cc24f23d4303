/** `pcnk __bpffs PATH`, which the manifest's privileged container runs: keeps a bpffs mounted there. Ends by a signal. */
import { keepNodeBpffs } from "../bpf/node_bpffs.ts";

export async function run(point: string): Promise<number> {
  const control = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => control.abort());
  }
  await keepNodeBpffs(point, control.signal, (line) => console.log(line));
  return 0;
}
