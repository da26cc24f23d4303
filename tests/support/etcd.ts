/** A real etcd for tests, on loopback ports of its own, with a temporary data directory. */
import { join } from "node:path";
import * as needs from "./needs.ts";

/** Whether etcd and etcdctl are here. */
export function haveEtcd(): boolean {
  return needs.file("/usr/bin/etcd") && needs.file("/usr/bin/etcdctl");
}

/** A port that is free now. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

interface EtcdOptions {
  /** Folder with ca.crt, server.crt, server.key, client.crt, client.key; undefined: no TLS. */
  pki?: string;
  flags?: string[];
  /** Path of the network namespace it runs in, with loopback up; undefined: this one. */
  netns?: string;
}

export class Etcd implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "pcnk-t-etcd-" });
  readonly port = freePort();
  private readonly peerPort = freePort();
  private child: Deno.ChildProcess | undefined;

  private constructor(private readonly options: EtcdOptions) {}

  static async start(options: EtcdOptions = {}): Promise<Etcd> {
    const etcd = new Etcd(options);
    try {
      await etcd.run();
    } catch (error) {
      await etcd[Symbol.asyncDispose]();
      throw error;
    }
    return etcd;
  }

  get url(): string {
    return `${this.options.pki === undefined ? "http" : "https"}://127.0.0.1:${this.port}`;
  }

  private command(path: string, options: Deno.CommandOptions & { args: string[] }): Deno.Command {
    const { netns } = this.options;
    if (netns === undefined) return new Deno.Command(path, options);
    return new Deno.Command("nsenter", {
      ...options,
      args: [`--net=${netns}`, path, ...options.args],
    });
  }

  /** Starts it; returns when it answers. */
  async run() {
    const { pki, flags = [] } = this.options;
    const peer = `http://127.0.0.1:${this.peerPort}`;
    const tls = pki === undefined ? [] : [
      ...["--cert-file", join(pki, "server.crt"), "--key-file", join(pki, "server.key")],
      ...["--trusted-ca-file", join(pki, "ca.crt"), "--client-cert-auth"],
    ];
    this.child = this.command("/usr/bin/etcd", {
      args: [
        ...["--data-dir", join(this.folder, "data"), "--name", "t"],
        ...["--listen-client-urls", this.url, "--advertise-client-urls", this.url],
        ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
        ...["--initial-cluster", `t=${peer}`, ...tls, ...flags],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await this.ctl("endpoint", "health", "--command-timeout=20s", "--dial-timeout=20s");
  }

  /** kill -9; the data stays. */
  async kill() {
    this.child?.kill("SIGKILL");
    await this.child?.status;
    this.child = undefined;
  }

  /** Runs etcdctl as its users do; returns what it printed. @throws Error with its complaint */
  async ctl(...args: string[]): Promise<string> {
    const { pki } = this.options;
    const tls = pki === undefined ? [] : [
      ...["--cacert", join(pki, "ca.crt"), "--cert", join(pki, "client.crt")],
      ...["--key", join(pki, "client.key")],
    ];
    const { success, stdout, stderr } = await this.command("/usr/bin/etcdctl", {
      args: ["--endpoints", this.url, ...tls, ...args],
      env: { ETCDCTL_API: "3" },
      stdin: "null",
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    if (!success) throw new Error(`etcdctl ${args.join(" ")}: ${text(stderr)}`);
    return text(stdout);
  }

  async [Symbol.asyncDispose]() {
    await this.kill();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** A CA, a server certificate for 127.0.0.1, a client's, and `anonymous`, a client's without a common name; by openssl. */
export async function makePki(folder: string): Promise<string> {
  const openssl = async (...args: string[]) => {
    const { success, stderr } = await new Deno.Command("openssl", { args, cwd: folder }).output();
    if (!success) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl(
    "req",
    "-x509",
    ...key,
    "-days",
    "2",
    "-subj",
    "/CN=ca",
    "-keyout",
    "ca.key",
    "-out",
    "ca.crt",
  );
  for (const name of ["server", "client", "anonymous"]) {
    const ext = join(folder, `${name}.ext`);
    const subject = name === "anonymous" ? "/O=pcnk" : `/CN=${name}`;
    Deno.writeTextFileSync(ext, "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
    await openssl("req", ...key, "-subj", subject, "-keyout", `${name}.key`, "-out", `${name}.csr`);
    await openssl(
      ...["x509", "-req", "-in", `${name}.csr`, "-CA", "ca.crt", "-CAkey", "ca.key"],
      ...["-CAcreateserial", "-days", "2", "-extfile", ext, "-out", `${name}.crt`],
    );
  }
  return folder;
}
