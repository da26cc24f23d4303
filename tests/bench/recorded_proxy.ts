/**
 * The real kube-proxy (iptables mode) with a recorder between it and `iptables-restore`: what it hands over, and how long
 * that takes. It runs in the API server's namespace and writes its rules there.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { tail } from "../../src/lab/agents.ts";
import { type ControlPlane, launch } from "./control_plane.ts";
import { kubeProxyCommand } from "./real_kube_proxy.ts";
import type { Stage } from "./stage.ts";

/** 10,000 services take 15 s with iptables on nf_tables, and kube-proxy may begin with an older state. */
const SYNC_MS = 120_000;

const REAL = "/usr/sbin/iptables-restore";

/** One call of iptables-restore by kube-proxy. */
interface Restore {
  ms: number;
  /** What it read. */
  input: string;
}

/** A kube-proxy that runs. */
export interface RecordedProxy {
  /** The last restore so far, or the first one from now on, whose input is `wanted`. */
  restored(wanted: (input: string) => boolean): Promise<Restore>;
}

/** Keeps time and input of each call that succeeds, as one file. */
function recorder(dir: string): string {
  return `#!/bin/sh
case $1 in --version) exec ${REAL} "$@" ;; esac
cat >${dir}/input
start=$(date +%s%N)
${REAL} "$@" <${dir}/input || exit
end=$(date +%s%N)
{ echo $((end - start)); cat ${dir}/input; } >${dir}/new
mv ${dir}/new ${dir}/restored
`;
}

/** Starts kube-proxy; it ends with the stage. */
export function startRecordedProxy(
  stage: Stage,
  control: ControlPlane,
  clusterCIDR: string,
): RecordedProxy {
  const dir = `${stage.dir}/recorder`;
  Deno.mkdirSync(dir, { mode: 0o700 });
  writeFileSync(`${dir}/iptables-restore`, recorder(dir), { mode: 0o700 });
  const log = `${dir}/kube-proxy.log`;
  launch(stage, control.netns, log, [
    ...["env", `PATH=${dir}:/usr/sbin:/usr/bin:/sbin:/bin`],
    ...kubeProxyCommand(control, { node: "node-0", clusterCIDR }),
    // By default it reads slices; the rules are the same, and one kind of object is made for all who are measured.
    "--feature-gates=EndpointSliceProxying=false",
  ]);
  return { restored: (wanted) => restored(stage, dir, log, wanted) };
}

async function restored(
  stage: Stage,
  dir: string,
  log: string,
  wanted: (input: string) => boolean,
): Promise<Restore> {
  const watcher = Deno.watchFs(dir);
  const events = watcher[Symbol.asyncIterator]();
  let open = true;
  const close = () => {
    if (open) watcher.close();
    open = false;
  };
  const timer = setTimeout(close, SYNC_MS);
  stage.signal.addEventListener("abort", close);
  try {
    do {
      const found = look(`${dir}/restored`, wanted);
      if (found) return found;
    } while (!(await events.next()).done);
  } finally {
    clearTimeout(timer);
    stage.signal.removeEventListener("abort", close);
    close();
  }
  stage.signal.throwIfAborted();
  throw new Error(
    `kube-proxy has not written the rules in ${SYNC_MS / 1000} s; its log ends:\n${tail(log)}`,
  );
}

function look(file: string, wanted: (input: string) => boolean): Restore | undefined {
  if (!existsSync(file)) return undefined;
  const all = readFileSync(file, "utf8");
  const end = all.indexOf("\n");
  const input = all.slice(end + 1);
  return wanted(input) ? { ms: Number(all.slice(0, end)) / 1e6, input } : undefined;
}
