import assert from "node:assert/strict";
import { join } from "node:path";
import type { Access, Identity } from "./access.ts";
import { CredentialSource } from "./credentials.ts";
import { parseCredential } from "./exec_plugin.ts";
import { serviceSpec, title } from "./place_support.ts";
import { Place } from "./place_support.ts";
import { ApiServer, status } from "./server_support.ts";
import { ApiClient } from "./client.ts";
import { TempFolder } from "../../../tests/support/folder.ts";

const signal = new AbortController().signal;

async function withFolder(test: (folder: string) => Promise<void>) {
  using temporary = new TempFolder();
  const folder = temporary.path;
  await test(folder);
}

const access = (identity: Identity, rest: Partial<Access> = {}): Access => ({
  server: "https://192.0.2.1",
  from: "kubeconfig",
  insecure: false,
  identity,
  ...rest,
});
const authorization = async (identity: Identity) =>
  (await new CredentialSource(access(identity)).current(signal)).authorization;

Deno.test("CredentialSource says who the client is, a token before a password", async () => {
  assert.equal(await authorization({ token: "t", username: "u" }), "Bearer t");
  assert.equal(await authorization({ username: "ü", password: "p" }), `Basic ${"w7w6cA=="}`);
  assert.equal(await authorization({}), undefined);
});

Deno.test("CredentialSource reads files anew each time", () =>
  withFolder(async (folder) => {
    const file = (name: string, text: string) => {
      Deno.writeTextFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const source = new CredentialSource(access({
      tokenFile: file("token", "one\n"),
      token: "not this",
      cert: { file: file("crt", "C1") },
      key: { text: "K" },
    }, { ca: { file: file("ca", "A1") } }));
    const first = { authorization: "Bearer one", ca: "A1", cert: "C1", key: "K" };
    assert.deepEqual(await source.current(signal), first);
    file("token", "two");
    file("crt", "C2");
    file("ca", "A2");
    const second = { authorization: "Bearer two", ca: "A2", cert: "C2", key: "K" };
    assert.deepEqual(await source.current(signal), second);
    file("token", "");
    await assert.rejects(source.current(signal), /token: holds no token/);
    Deno.removeSync(join(folder, "token"));
    await assert.rejects(source.current(signal), /token: is not there/);
  }));

/** A plugin that counts its runs and prints KUBERNETES_EXEC_INFO. */
function plugin(folder: string, credential: object, tail = "") {
  const command = join(folder, "plugin");
  const body = JSON.stringify({
    apiVersion: "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    status: credential,
  });
  const script = `#!/bin/sh
echo run >> '${folder}/runs'
printf %s "$KUBERNETES_EXEC_INFO" > '${folder}/info'
cat <<X
${body}
X
${tail}
`;
  Deno.writeTextFileSync(command, script, { mode: 0o755 });
  return {
    apiVersion: "client.authentication.k8s.io/v1",
    command,
    args: [],
    env: {},
    provideClusterInfo: true,
  };
}
const runs = (folder: string) => Deno.readTextFileSync(join(folder, "runs")).split("\n").length - 1;

Deno.test("CredentialSource asks a plugin, and again when its word ends or the server refuses", () =>
  withFolder(async (folder) => {
    const end = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();
    const long = new CredentialSource(
      access({ exec: plugin(folder, { token: "x", expirationTimestamp: end(3600) }) }),
    );
    for (let i = 0; i < 3; i++) {
      assert.equal((await long.current(signal)).authorization, "Bearer x");
    }
    assert.equal(runs(folder), 1);
    const info = JSON.parse(Deno.readTextFileSync(join(folder, "info")));
    assert.deepEqual([info.kind, info.spec.interactive, info.spec.cluster.server], [
      "ExecCredential",
      false,
      "https://192.0.2.1",
    ]);
    long.refused();
    await long.current(signal);
    assert.equal(runs(folder), 2);
    const short = new CredentialSource(
      access({ exec: plugin(folder, { token: "y", expirationTimestamp: end(30) }) }),
    );
    await short.current(signal);
    await short.current(signal);
    assert.equal(runs(folder), 4);
  }));

Deno.test("CredentialSource names a plugin that fails, and never what it printed", () =>
  withFolder(async (folder) => {
    const failing = plugin(folder, { token: "secret" }, "echo no login >&2; exit 3");
    await assert.rejects(authorization({ exec: failing }), (error: Error) => {
      assert.match(error.message, /credential plugin .*\/plugin: ended with 3: no login/);
      return !error.message.includes("secret");
    });
    const missing = { ...failing, command: join(folder, "none"), installHint: "apt install it" };
    await assert.rejects(authorization({ exec: missing }), /is not there; apt install it/);
    assert.throws(() => parseCredential("secret", failing.apiVersion), /printed no JSON$/);
    const other = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"}';
    assert.throws(() => parseCredential(other, failing.apiVersion), /no ExecCredential of/);
    const nothing = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}';
    assert.throws(() => parseCredential(nothing, failing.apiVersion), /neither a token nor/);
  }));

Deno.test("KubeSource goes on with the new token when the old one is refused", () =>
  withFolder(async (folder) => {
    const tokenFile = join(folder, "token");
    Deno.writeTextFileSync(tokenFile, "one");
    await using place = new Place({}, { identity: { tokenFile } });
    const { api, sink, source } = place;
    let valid = "one";
    api.intercept = (_, request) =>
      request.headers.get("authorization") === `Bearer ${valid}`
        ? undefined
        : status(401, "Unauthorized");
    await place.started();
    valid = "two";
    api.cut();
    await sink.until(() => source.trouble !== undefined);
    assert.match(source.trouble!.reason, /with 401: Unauthorized/);
    Deno.writeTextFileSync(tokenFile, "two");
    api.put("Service", "a", serviceSpec());
    await sink.until(() => sink.objects.has(title("a")) && source.trouble === undefined);
  }));

Deno.test("ApiClient goes through the proxy that a kubeconfig names", async () => {
  await using proxy = new ApiServer();
  const hosts: string[] = [];
  proxy.intercept = (url, request) => {
    hosts.push(request.headers.get("host") ?? url.host);
    return Response.json({ seen: url.pathname });
  };
  const client = new ApiClient(access({}, { server: "http://api.invalid", proxyUrl: proxy.url }));
  assert.deepEqual(await client.json("/version", { signal }), { seen: "/version" });
  assert.deepEqual(hosts, ["api.invalid"]);
  client.close();
});

Deno.test("CredentialSource bounds what a plugin prints", () =>
  withFolder(async (folder) => {
    const flood = plugin(folder, { token: "x" }, "exec yes");
    await assert.rejects(authorization({ exec: flood }), /plugin: printed more than 1024 KiB/);
  }));
