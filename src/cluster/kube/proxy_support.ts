/** Certificates and a proxy that speaks CONNECT, for tests. */
import assert from "node:assert/strict";
import { join } from "node:path";

/** Only the proxy resolves it. */
export const NAME = "api.cluster.invalid";

/** Runs openssl in a folder. */
export const opensslIn = (cwd: string) => (...args: string[]) => {
  const { success, stderr } = new Deno.Command("openssl", { args, cwd, stderr: "piped" })
    .outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
};

/** A CA and a certificate of it, in a folder. */
export function makeCertificates(folder: string, what: string) {
  const openssl = opensslIn(folder);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"];
  openssl("req", "-x509", ...key, "ca.key", "-out", `${what}.ca`, "-subj", `/CN=${what}`);
  openssl("req", ...key, "key", "-out", "csr", "-subj", "/CN=server");
  Deno.writeTextFileSync(join(folder, "ext"), `subjectAltName=DNS:${NAME},IP:127.0.0.1\n`);
  const signed = ["-CA", `${what}.ca`, "-CAkey", "ca.key", "-CAcreateserial"];
  openssl("x509", "-req", "-in", "csr", ...signed, "-extfile", "ext", "-days", "2", "-out", "crt");
  const read = (name: string) => Deno.readTextFileSync(join(folder, name));
  return { cert: read("crt"), key: read("key"), ca: join(folder, `${what}.ca`) };
}

/** A proxy that knows one name, writes down what it was asked for, and copies bytes. */
export class Proxy implements AsyncDisposable {
  readonly asked: string[] = [];
  readonly authorizations: (string | undefined)[] = [];
  private readonly listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  private readonly connections = new Set<Deno.Conn>();
  private readonly running = this.run();

  constructor(private readonly target: number) {}

  get address(): string {
    return `127.0.0.1:${this.listener.addr.port}`;
  }

  private async run() {
    for await (const near of this.listener) void this.serve(near);
  }

  private async serve(near: Deno.TcpConn) {
    this.connections.add(near);
    const buffer = new Uint8Array(4096);
    let head = "";
    while (!head.includes("\r\n\r\n")) {
      const count = await near.read(buffer).catch(() => null);
      if (count === null) return near.close();
      head += new TextDecoder().decode(buffer.subarray(0, count));
    }
    this.asked.push(head.split("\r\n")[0]!.replace(/ HTTP.*/, ""));
    this.authorizations.push(/^proxy-authorization: (.*)\r$/im.exec(head)?.[1]);
    const far = await Deno.connect({ hostname: "127.0.0.1", port: this.target });
    this.connections.add(far);
    await near.write(new TextEncoder().encode("HTTP/1.1 200 Connection established\r\n\r\n"));
    await Promise.allSettled([
      near.readable.pipeTo(far.writable),
      far.readable.pipeTo(near.writable),
    ]);
  }

  async [Symbol.asyncDispose]() {
    this.listener.close();
    for (const one of this.connections) {
      try {
        one.close();
      } catch {
        // It has ended.
      }
    }
    await this.running;
  }
}
