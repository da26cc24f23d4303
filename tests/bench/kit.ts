/**
 * Kubernetes' own programs, for comparing with the real kube-proxy: where they are, or why they are not there. They come
 * from an optional kit beside the checkout, whose `setup.sh` unpacks them once.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { KIT } from "../support/kube_kit.ts";

/** Where `setup.sh` unpacks. */
const UNPACKED = process.env.KUBE_KIT_DIR ?? "/var/tmp/kube-kit";

const ETCD = "/usr/bin/etcd";

/** Paths of the programs. */
export interface Kit {
  etcd: string;
  apiserver: string;
  kubectl: string;
  kubeProxy: string;
}

/**
 * The programs, unpacked now if they have not been; or, as a text, why there are none.
 * @throws {Error} when the kit is there and its setup fails
 */
export function findKit(): Kit | string {
  if (Deno.build.arch !== "x86_64") return "the kit's programs are for x86_64";
  if (!existsSync(join(UNPACKED, "done"))) {
    const script = join(KIT, "setup.sh");
    if (!existsSync(script)) return `no Kubernetes programs in ${UNPACKED}, no kit at ${KIT}`;
    const env = { KUBE_KIT_DIR: UNPACKED };
    const { success, stderr } = new Deno.Command(script, { env, stdout: "null" }).outputSync();
    if (!success) throw new Error(`${script}: ${new TextDecoder().decode(stderr)}`);
  }
  const program = (name: string) => join(UNPACKED, "bin", name);
  const kit = {
    etcd: ETCD,
    apiserver: program("kube-apiserver"),
    kubectl: program("kubectl"),
    kubeProxy: program("kube-proxy"),
  };
  const missing = Object.values(kit).find((path) => !existsSync(path));
  return missing ? `${missing} is not there` : kit;
}
