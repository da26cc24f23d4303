/** Forms of kubeconfig and faults of the files it names: each works, or is refused in one line. None may end the process. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { TempFolder } from "../../../tests/support/folder.ts";
import { ApiClient } from "./client.ts";
import { parseKubeconfig } from "./kubeconfig.ts";
import { makeCertificates, NAME, opensslIn, Proxy } from "./proxy_support.ts";

const signal = new AbortController().signal;

/** A server with TLS that replies with the path it is asked for, and files of certificates beside it. */
class Scene implements AsyncDisposable {
  readonly #temporary = new TempFolder();
  readonly folder = this.#temporary.path;
  readonly ca: string;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    const made = makeCertificates(this.folder, "one");
    this.ca = made.ca;
    const { cert, key } = made;
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {} },
      (request) => Response.json({ path: new URL(request.url).pathname }),
    );
    this.#clients();
  }

  get port(): number {
    return this.#server.addr.port;
  }

  /** Key pairs `a` and `b` of each algorithm, and odd forms of the first. */
  #clients() {
    const openssl = opensslIn(this.folder);
    const make = (name: string, ...algorithm: string[]) =>
      openssl(
        ...["req", "-x509", ...algorithm, "-nodes", "-subj", "/CN=x"],
        ...["-keyout", `${name}.key`, "-out", `${name}.crt`],
      );
    for (const one of ["a", "b"]) {
      make(`${one}.ec`, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256");
      make(`${one}.rsa`, "-newkey", "rsa:2048");
      make(`${one}.ed`, "-newkey", "ed25519");
    }
    make("a.521", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521");
    make("a.k1", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1");
    openssl("ec", "-in", "a.ec.key", "-out", "sec1.key");
    openssl("rsa", "-in", "a.rsa.key", "-traditional", "-out", "pkcs1.key");
    openssl("pkcs8", "-topk8", "-in", "a.ec.key", "-passout", "pass:x", "-out", "encrypted.key");
    openssl(
      "rsa",
      "-in",
      "a.rsa.key",
      "-aes128",
      "-traditional",
      "-passout",
      "pass:x",
      "-out",
      "old.key",
    );
    const block = (what: string, text: string) =>
      `-----BEGIN ${what}-----\n${text}\n-----END ${what}-----\n`;
    const cert = this.read("a.ec.crt");
    this.write("garbage", "garbage");
    this.write("empty", "");
    this.write("broken.crt", block("CERTIFICATE", btoa("garbage")));
    this.write("broken.key", block("PRIVATE KEY", btoa("garbage")));
    this.write("odd.crt", block("CERTIFICATE", "!!!!"));
    this.write("cut.crt", cert.slice(0, 200));
    this.write("chain.crt", cert + this.read("b.ec.crt"));
    this.write("reversed.crt", this.read("b.ec.crt") + cert);
    this.write("both.pem", `# comment\r\n${cert}${this.read("a.ec.key")}`);
    this.write("bundle.ca", block("CERTIFICATE", btoa("garbage")) + cert + this.read("one.ca"));
  }

  read = (name: string) => Deno.readTextFileSync(join(this.folder, name));
  write = (name: string, text: string) => Deno.writeTextFileSync(join(this.folder, name), text);

  /** The client of a kubeconfig with these fields. */
  client(cluster: object, user: object = {}): ApiClient {
    const text = JSON.stringify({
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
      clusters: [{ name: "k", cluster: { server: `https://127.0.0.1:${this.port}`, ...cluster } }],
      users: [{ name: "u", user }],
    });
    return new ApiClient(parseKubeconfig(text, join(this.folder, "kubeconfig")));
  }

  async ask(cluster: object, user: object = {}): Promise<unknown> {
    const client = this.client(cluster, user);
    try {
      return (await client.json("/version", { signal })).path;
    } finally {
      client.close();
    }
  }

  async [Symbol.asyncDispose]() {
    await this.#server.shutdown();
    this.#temporary[Symbol.dispose]();
  }
}

const good = [
  ...["ec", "rsa", "ed", "521"].map((kind) => [`a.${kind}.crt`, `a.${kind}.key`] as const),
  ...[["a.ec.crt", "sec1.key"], ["a.rsa.crt", "pkcs1.key"]] as const,
  ...[["both.pem", "both.pem"], ["chain.crt", "a.ec.key"]] as const,
];
const bad: (readonly [cert: string, key: string, message: RegExp])[] = [
  ...["ec", "rsa", "ed"].map((kind) =>
    [
      `a.${kind}.crt`,
      `b.${kind}.key`,
      /b\.\w+\.key: the key does not belong to .*a\.\w+\.crt$/,
    ] as const
  ),
  ["a.ec.crt", "a.rsa.key", /does not belong/],
  ["reversed.crt", "a.ec.key", /does not belong/],
  ["a.k1.crt", "a.k1.key", /a\.k1\.key: holds no private key that can be used/],
  ["a.ec.crt", "broken.key", /broken\.key: holds no private key/],
  ["a.ec.crt", "garbage", /garbage: holds no private key/],
  ["a.ec.crt", "empty", /empty: holds no private key/],
  ["a.ec.crt", "encrypted.key", /encrypted\.key: the key is encrypted; write it/],
  ["a.rsa.crt", "old.key", /old\.key: the key is encrypted/],
  ["a.ec.crt", "none", /none: is not there/],
  ["broken.crt", "a.ec.key", /broken\.crt: holds no certificate/],
  ["odd.crt", "a.ec.key", /odd\.crt: holds no certificate/],
  ["cut.crt", "a.ec.key", /cut\.crt: holds no certificate/],
  ["empty", "a.ec.key", /empty: holds no certificate/],
];

Deno.test("ApiClient takes each form of client certificate, or says in one line what is wrong", async () => {
  await using scene = new Scene();
  const clusters = (file: string) => [
    { "certificate-authority": file },
    { "insecure-skip-tls-verify": true },
    { "certificate-authority": file, "tls-server-name": NAME },
  ];
  for (const cluster of clusters(scene.ca)) {
    for (const [cert, key] of good) {
      const files = { "client-certificate": cert, "client-key": key };
      assert.equal(await scene.ask(cluster, files), "/version", `${cert} ${key}`);
      const data = { "client-certificate-data": btoa(scene.read(cert)), "client-key": key };
      assert.equal(await scene.ask(cluster, data), "/version", `data of ${cert}, ${key}`);
    }
    for (const [cert, key, message] of bad) {
      const files = { "client-certificate": cert, "client-key": key };
      await assert.rejects(scene.ask(cluster, files), (error: Error) => {
        assert.equal(error.name, "AccessError", error.message);
        assert.match(error.message, message);
        return !error.message.includes("\n");
      }, `${cert} ${key}`);
    }
  }
  const inline = {
    "client-certificate-data": btoa(scene.read("a.ec.crt")),
    "client-key-data": btoa(scene.read("b.ec.key")),
  };
  await assert.rejects(
    scene.ask({ "certificate-authority": scene.ca }, inline),
    /kubeconfig: client-key-data: the key does not belong/,
  );
});

Deno.test("ApiClient takes a CA bundle's good part, and refuses a file without one", async () => {
  await using scene = new Scene();
  assert.equal(await scene.ask({ "certificate-authority": "bundle.ca" }), "/version");
  for (const file of ["garbage", "empty", "broken.crt", "odd.crt", "cut.crt", "a.ec.key"]) {
    await assert.rejects(
      scene.ask({ "certificate-authority": file }),
      new RegExp(`${file}: holds no certificate that can be read$`),
    );
  }
  await assert.rejects(scene.ask({ "certificate-authority": "a.ec.crt" }), /UnknownIssuer/);
});

Deno.test("ApiClient keeps a server's path in each combination of TLS options and proxies", async () => {
  await using scene = new Scene();
  await using proxy = new Proxy(scene.port);
  await using socks = new SocksProxy(scene.port);
  const options = [
    { "certificate-authority": scene.ca },
    { "insecure-skip-tls-verify": true },
    { "insecure-skip-tls-verify": true, "tls-server-name": NAME },
    { "certificate-authority": scene.ca, "tls-server-name": NAME },
  ];
  const proxies = [
    {},
    { "proxy-url": `http://me:s%2Bcret@${proxy.address}` },
    { "proxy-url": `socks5://me:s%2Bcret@${socks.address}` },
  ];
  const user = { "client-certificate": "a.ec.crt", "client-key": "a.ec.key" };
  for (const option of options) {
    for (const way of proxies) {
      for (const path of ["", "/k8s/clusters/c-1/"]) {
        const server = `https://127.0.0.1:${scene.port}${path}`;
        const seen = await scene.ask({ server, ...option, ...way }, user);
        const what = JSON.stringify({ option, way, path });
        assert.equal(seen, `${path.replace(/\/$/, "")}/version`, what);
      }
    }
  }
  assert.equal(proxy.asked.length, options.length * 2);
  assert.deepEqual(new Set(proxy.authorizations), new Set([`Basic ${btoa("me:s+cret")}`]));
  assert.deepEqual(new Set(socks.passwords), new Set(["me s+cret"]));
  assert.equal(socks.passwords.length, options.length * 2);
});

Deno.test("ApiClient keeps its certificate while key and certificate are replaced, key first", async () => {
  await using scene = new Scene();
  const copy = (from: string, to: string) => scene.write(to, scene.read(from));
  const ask = (client: ApiClient) => client.json("/version", { signal });
  copy("a.ec.crt", "tls.crt");
  copy("a.ec.key", "tls.key");
  const files = { "client-certificate": "tls.crt", "client-key": "tls.key" };
  const client = scene.client({ "certificate-authority": scene.ca }, files);
  await ask(client);
  copy("b.ec.key", "tls.key");
  await ask(client);
  const gone = new AbortController();
  gone.abort();
  await assert.rejects(client.json("/version", { signal: gone.signal }), (error: Error) => {
    assert.match(error.message, /certificate read before is still used: .*does not belong/);
    return true;
  });
  await ask(client); // after a failure the connection is made anew, of the former files
  copy("b.ec.crt", "tls.crt");
  await ask(client);
  await assert.rejects(client.json("/version", { signal: gone.signal }), (error: Error) => {
    assert.doesNotMatch(error.message, /still used/);
    return true;
  });
  client.close();
});

/** SOCKS5 with a password (RFC 1928, 1929), to one port of loopback whatever is asked for. */
class SocksProxy implements AsyncDisposable {
  readonly passwords: string[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #running: Promise<void>;

  constructor(target: number) {
    this.#running = this.#run(target);
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  async #run(target: number) {
    for await (const near of this.#listener) void this.#serve(near, target).catch(() => {});
  }

  async #serve(near: Deno.TcpConn, target: number) {
    const buffer = new Uint8Array(512);
    const next = async () => buffer.slice(0, await near.read(buffer) ?? 0);
    assert.ok((await next()).includes(2, 2));
    await near.write(Uint8Array.of(5, 2));
    const login = await next();
    const text = (at: number) =>
      new TextDecoder().decode(login.subarray(at + 1, at + 1 + login[at]!));
    this.passwords.push(`${text(1)} ${text(2 + login[1]!)}`);
    await near.write(Uint8Array.of(1, 0));
    await next();
    await near.write(Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
    const far = await Deno.connect({ hostname: "127.0.0.1", port: target });
    await Promise.allSettled([
      near.readable.pipeTo(far.writable),
      far.readable.pipeTo(near.writable),
    ]);
  }

  async [Symbol.asyncDispose]() {
    this.#listener.close();
    await this.#running;
  }
}
