/** The API client behind a proxy that speaks CONNECT, to a server with TLS by a CA of its own: real sockets, real certificates. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { ApiClient } from "./client.ts";
import { parseKubeconfig } from "./kubeconfig.ts";
import { makeCertificates, NAME, Proxy } from "./proxy_support.ts";

const signal = new AbortController().signal;
const VARIABLES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"];

interface Scene {
  folder: string;
  /** Of the server, on loopback. */
  port: number;
  ca: string;
  proxy: Proxy;
  /** Environment variables, until the end. */
  env(values: Record<string, string>): void;
  /** Asks a server by a kubeconfig with these lines; says what the server answered. */
  ask(server: string, ...cluster: string[]): Promise<unknown>;
  /** The client of such a kubeconfig. */
  connect(server: string, ...cluster: string[]): ApiClient;
}

function test(name: string, fn: (scene: Scene) => Promise<void>) {
  Deno.test(name, async () => {
    const folder = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
    const before = VARIABLES.map((key) => [key, Deno.env.get(key)] as const);
    for (const key of VARIABLES) Deno.env.delete(key);
    const serve = (tls: { cert: string; key: string }) =>
      Deno.serve(
        { hostname: "127.0.0.1", port: 0, ...tls, onListen: () => {} },
        (request) => Response.json({ host: new URL(request.url).hostname }),
      );
    const made = makeCertificates(folder, "one");
    const server = serve(made);
    const { port } = server.addr;
    const proxy = new Proxy(port);
    const clients: ApiClient[] = [];
    const connect = (url: string, ...cluster: string[]) => {
      const lines = [`server: ${url}`, ...cluster].map((line) => `    ${line}\n`).join("");
      const text = `current-context: c\ncontexts: [{ name: c, context: { cluster: k } }]\n` +
        `clusters:\n- name: k\n  cluster:\n${lines}`;
      const client = new ApiClient(parseKubeconfig(text, join(folder, "kubeconfig")));
      clients.push(client);
      return client;
    };
    try {
      await fn({
        ...{ folder, port, ca: made.ca, proxy },
        env: (values) => Object.entries(values).forEach(([key, value]) => Deno.env.set(key, value)),
        connect,
        ask: (url, ...cluster) => connect(url, ...cluster).json("/version", { signal }),
      });
    } finally {
      for (const client of clients) client.close();
      for (const [key, value] of before) {
        if (value === undefined) Deno.env.delete(key);
        else Deno.env.set(key, value);
      }
      await proxy[Symbol.asyncDispose]();
      await server.shutdown();
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

for (const variable of ["HTTPS_PROXY", "ALL_PROXY"]) {
  test(
    `ApiClient goes through the proxy of ${variable}, TLS end to end`,
    async ({ proxy, env, ask, ca }) => {
      env({ [variable]: `http://${proxy.address}` });
      assert.deepEqual(await ask(`https://${NAME}:6443`, `certificate-authority: ${ca}`), {
        host: NAME,
      });
      assert.deepEqual(proxy.asked, [`CONNECT ${NAME}:6443`]);
    },
  );
}

test(
  "ApiClient leaves out the proxy for what NO_PROXY names",
  async ({ proxy, env, ask, ca, port }) => {
    const authority = `certificate-authority: ${ca}`;
    const server = `https://127.0.0.1:${port}`;
    env({ HTTPS_PROXY: `http://${proxy.address}`, NO_PROXY: "example.com,127.0.0.0/8" });
    assert.deepEqual(await ask(server, authority), { host: "127.0.0.1" });
    assert.deepEqual(proxy.asked, []);
    env({ NO_PROXY: "10.0.0.0/8" });
    await ask(server, authority);
    assert.deepEqual(proxy.asked, [`CONNECT 127.0.0.1:${port}`]);
  },
);

test(
  "ApiClient takes proxy-url before the environment, with its name and password",
  async (given) => {
    const { proxy, env, ask, ca } = given;
    env({ HTTPS_PROXY: "http://127.0.0.1:1", NO_PROXY: "*" });
    const answer = await ask(
      `https://${NAME}:6443`,
      `certificate-authority: ${ca}`,
      `proxy-url: http://me:s%2Bcret@${proxy.address}`,
    );
    assert.deepEqual(answer, { host: NAME });
    assert.deepEqual(proxy.asked, [`CONNECT ${NAME}:6443`]);
    assert.deepEqual(proxy.authorizations, [`Basic ${btoa("me:s+cret")}`]);
  },
);

test(
  "ApiClient behind a proxy refuses a certificate of another CA",
  async ({ proxy, ask, folder }) => {
    const other = makeCertificates(folder, "other").ca;
    await assert.rejects(
      ask(
        `https://${NAME}:6443`,
        `certificate-authority: ${other}`,
        `proxy-url: http://${proxy.address}`,
      ),
      /UnknownIssuer|certificate/,
    );
  },
);

test("ApiClient says that it is the proxy that does not answer", async ({ ask, ca }) => {
  await assert.rejects(
    ask(
      `https://${NAME}:6443`,
      `certificate-authority: ${ca}`,
      "proxy-url: http://me:secret@127.0.0.1:1",
    ),
    (error: Error) => {
      assert.match(error.message, /proxy/);
      assert.match(error.message, /127\.0\.0\.1:1/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    },
  );
});

test("ApiClient's own relays do not go by NO_PROXY", async ({ env, ask, ca, port }) => {
  env({ HTTPS_PROXY: "http://127.0.0.1:1", NO_PROXY: "*" });
  const server = `https://127.0.0.1:${port}`;
  const named = await ask(server, `certificate-authority: ${ca}`, `tls-server-name: ${NAME}`);
  assert.deepEqual(named, { host: NAME });
  await ask(server, "insecure-skip-tls-verify: true");
});

test("ApiClient takes up a CA that is put in the place of the old one", async (given) => {
  const { folder, ca, proxy, connect } = given;
  const file = join(folder, "ca.crt");
  Deno.copyFileSync(makeCertificates(folder, "other").ca, file);
  const client = connect(
    `https://${NAME}:6443`,
    "certificate-authority: ca.crt",
    `proxy-url: http://${proxy.address}`,
  );
  await assert.rejects(client.json("/version", { signal }), /UnknownIssuer|certificate/);
  Deno.copyFileSync(ca, file);
  assert.deepEqual(await client.json("/version", { signal }), { host: NAME });
});
