/**
 * etcd and the API server of Kubernetes in a network namespace, as much of a control plane as kube-proxy
 * needs: it asks for Services and EndpointSlices and nothing else. Up in four seconds, and nothing of it is to be seen from
 * outside.
 *
 * Limitation: any process in the namespace with the token may do anything; there are no controllers.
 */
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tail } from "../../src/lab/agents.ts";
import { endProcess, identify } from "../../src/lab/process.ts";
import { commandAt } from "../../src/lab/spawn.ts";
import type { Kit } from "./kit.ts";
import type { Stage } from "./stage.ts";

/** An API object. */
export type ApiObject = { apiVersion: string; kind: string } & Record<string, unknown>;

/** A control plane that answers. */
export interface ControlPlane {
  /** Path of its network namespace; what is to speak to it runs there. */
  netns: string;
  kubeconfig: string;
  kit: Kit;
  /** Creates objects by kubectl. */
  create(objects: readonly ApiObject[]): Promise<void>;
}

const READY_MS = 60_000;
const GRACE_MS = 2000;

/** Whose users, tokens and accounts they are. */
const NAME = "pcnk-tests";

/** A namespace and a folder of a stage, for both. */
export function placeOn(stage: Stage): { netns: string; dir: string } {
  return { netns: stage.netns("kube"), dir: `${stage.dir}/kube` };
}

/** Starts both on loopback of `netns`, their files in `dir`, and waits until the API server says that it is ready. */
export async function startControlPlane(
  stage: Pick<Stage, "defer" | "signal">,
  kit: Kit,
  { netns, dir }: { netns: string; dir: string },
): Promise<ControlPlane> {
  Deno.mkdirSync(dir, { mode: 0o700 });
  const kubeconfig = writeFiles(dir);
  launch(stage, netns, `${dir}/etcd.log`, etcd(dir, kit.etcd));
  const log = `${dir}/apiserver.log`;
  const pid = launch(stage, netns, log, apiserver(dir, kit.apiserver));
  const kubectl = (args: string[], input?: string) =>
    output(netns, [kit.kubectl, `--kubeconfig=${kubeconfig}`, ...args], input);
  const deadline = performance.now() + READY_MS;
  // Each attempt is a process that asks and ends: it takes longer than any pause between two should.
  while (!(await kubectl(["get", "--raw", "/readyz"])).success) {
    stage.signal.throwIfAborted();
    if (performance.now() > deadline || !identify(pid)) {
      throw new Error(`the API server does not get ready; its log ends:\n${tail(log)}`);
    }
  }
  return {
    netns,
    kubeconfig,
    kit,
    async create(objects) {
      const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
      const { success, stderr } = await kubectl(["create", "--validate=false", "-f", "-"], list);
      if (!success) throw new Error(`kubectl create: ${stderr}`);
    },
  };
}

/** Starts a process in a namespace that is ended with the stage; returns its pid. */
export function launch(
  stage: Pick<Stage, "defer">,
  netns: string,
  log: string,
  command: string[],
): number {
  const streams = { stdin: "null", stdout: "null", stderr: "null" } as const;
  const child = commandAt({ netnsPath: netns, cgroup: null }, command, { log, ...streams }).spawn();
  const id = identify(child.pid);
  stage.defer(async () => {
    if (id) await endProcess(id, GRACE_MS);
    await child.status;
  });
  return child.pid;
}

/** Runs a command in a namespace to its end. */
export async function output(
  netns: string,
  command: string[],
  input?: string,
  signal?: AbortSignal,
) {
  const child = commandAt({ netnsPath: netns, cgroup: null }, command, {
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    signal,
  }).spawn();
  const [{ success, stdout, stderr }] = await Promise.all([
    child.output(),
    input === undefined ? undefined : write(child.stdin, input),
  ]);
  const text = new TextDecoder();
  return { success, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

async function write(stream: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stream.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
}

/** Writes keys, tokens and a kubeconfig below `dir`; returns the path of that. */
function writeFiles(dir: string): string {
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
function etcd(dir: string, program: string): string[] {
  const [clients, peers] = ["http://127.0.0.1:2379", "http://127.0.0.1:2380"];
  return [
    program,
    ...["--data-dir", join(dir, "etcd"), "--unsafe-no-fsync", "--logger=zap", "--log-level=warn"],
    ...["--listen-client-urls", clients, "--advertise-client-urls", clients],
    ...["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers],
    ...["--initial-cluster", `default=${peers}`],
  ];
}

/** The command of the API server on loopback, as much of it as Services need: there are no controllers. */
function apiserver(dir: string, program: string): string[] {
  return [
    program,
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
