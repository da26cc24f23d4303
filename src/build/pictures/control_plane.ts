/**
 * A real API server beside the lab's node1, for the picture of a Service whose selector finds no Pod: only the API
 * knows Pods. etcd and kube-apiserver run in the node's network namespace, on loopback, and end with the picture.
 */
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const BIN = join(process.env.KUBE_KIT_DIR ?? "/var/tmp/kube-kit", "bin");
const READY_MS = 60_000;
/** Whose users, tokens and accounts they are. */
const NAME = "pictures";

/** Whether the programs are there. */
export function hasControlPlane(): boolean {
  const programs = ["/usr/bin/etcd", join(BIN, "kube-apiserver"), join(BIN, "kubectl")];
  return programs.every((path) => existsSync(path));
}

/** Starts both below `dir`, creates what `manifest` holds, and ends both with `Symbol.asyncDispose`. */
export async function controlPlane(netns: string, dir: string, manifest: string) {
  mkdirSync(dir, { mode: 0o700 });
  const kubeconfig = writeFiles(dir);
  const inside = (words: string[]): [string, string[]] => [
    "nsenter",
    [`--net=${netns}`, "--", ...words],
  ];
  const children = [etcd(dir), apiserver(dir)].map((words) => {
    const [command, args] = inside(words);
    return new Deno.Command(command, { args, stdin: "null", stdout: "null", stderr: "null" })
      .spawn();
  });
  const end = async () => {
    for (const child of children.toReversed()) {
      try {
        child.kill("SIGTERM");
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // it has ended already
      }
      await child.status;
    }
  };
  const kubectl = async (...words: string[]) => {
    const [command, args] = inside([join(BIN, "kubectl"), `--kubeconfig=${kubeconfig}`, ...words]);
    const { success, stderr } = await new Deno.Command(command, { args, stdin: "null" }).output();
    return success ? undefined : new TextDecoder().decode(stderr);
  };
  try {
    const deadline = performance.now() + READY_MS;
    // Each look is a process that asks and ends: no pause is needed between two.
    while (await kubectl("get", "--raw", "/readyz") !== undefined) {
      if (performance.now() > deadline) throw new Error("the API server does not get ready");
    }
    const objects = join(dir, "objects.yaml");
    writeFileSync(objects, manifest);
    const wrong = await kubectl("create", "--validate=false", "-f", objects);
    if (wrong !== undefined) throw new Error(`kubectl create: ${wrong}`);
    return { kubeconfig, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Writes keys, tokens and a kubeconfig below `dir`; returns the path of that. */
export function writeFiles(dir: string): string {
  const token = randomUUID();
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  writeFileSync(join(dir, "account.key"), privateKey, { mode: 0o600 });
  writeFileSync(join(dir, "tokens"), `${token},admin,admin\n`, { mode: 0o600 });
  const cluster = { server: "https://127.0.0.1:6443", "insecure-skip-tls-verify": true };
  const path = join(dir, "admin.conf");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: NAME, cluster }],
    users: [{ name: NAME, user: { token } }],
    contexts: [{ name: NAME, context: { cluster: NAME, user: NAME } }],
    "current-context": NAME,
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

/** The command of etcd on loopback, its data below `dir`. */
export function etcd(dir: string): string[] {
  const [clients, peers] = ["http://127.0.0.1:2379", "http://127.0.0.1:2380"];
  return [
    "/usr/bin/etcd",
    ...["--data-dir", join(dir, "etcd"), "--unsafe-no-fsync", "--logger=zap", "--log-level=warn"],
    ...["--listen-client-urls", clients, "--advertise-client-urls", clients],
    ...["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers],
    ...["--initial-cluster", `default=${peers}`],
  ];
}

/** The command of the API server on loopback, as much of it as Services need: there are no controllers. */
export function apiserver(dir: string): string[] {
  return [
    join(BIN, "kube-apiserver"),
    "--etcd-servers=http://127.0.0.1:2379",
    ...["--bind-address=127.0.0.1", "--secure-port=6443", "--authorization-mode=AlwaysAllow"],
    // Nothing connects there; loopback is refused, and without any there has to be a default route.
    ...["--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"],
    `--cert-dir=${join(dir, "cert")}`,
    `--token-auth-file=${join(dir, "tokens")}`,
    "--service-cluster-ip-range=10.96.0.0/16",
    `--service-account-issuer=${NAME}`,
    `--service-account-key-file=${join(dir, "account.key")}`,
    `--service-account-signing-key-file=${join(dir, "account.key")}`,
    "--disable-admission-plugins=ServiceAccount",
  ];
}
